"""A webhook tried on the spot: one `milepost.test` effect, one attempt, no retries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple
from uuid import UUID, uuid4

import asyncpg
import msgspec

from db import metrics, sql
from db.settings import Settings
from jobs.effects import carriers, effect
from jobs.effects.deliveries import LEASE_SECONDS
from jobs.effects.delivery import Attempt, Delivery

QUERIES: Final = sql.read("deliveries")
TYPE: Final = "milepost.test"


class Trial(NamedTuple):
    """How it went."""

    message_id: str
    attempt: Attempt


async def run(pool: asyncpg.Pool, settings: Settings, destination: UUID) -> Trial | None:
    """Send one effect to one destination, and keep it among its deliveries; None when there is no such destination."""
    subject, name, now = f"destination:{destination}", f"test-{uuid4()}", datetime.now(UTC)
    data = msgspec.json.encode({"message": "This is a test of a webhook.", "destination": destination}).decode()
    row = await pool.fetchrow(
        QUERIES["insert_trial"],
        *(subject, name, effect.message_id(subject, name), TYPE, now, data),
        *(destination, settings.webhook_timeout + LEASE_SECONDS),
    )
    if row is None:
        return None
    one = Delivery(*row)
    async with carriers.opened(settings) as out:
        attempt = await out.send(one)
    metrics.ATTEMPTS.labels(one.sort, attempt.result).inc()
    tried = (attempt.at, attempt.milliseconds, attempt.status, attempt.error, attempt.response)
    ended = ("delivered", None) if attempt.ok else ("discarded", "a test is not tried again")
    await pool.fetch(QUERIES["finish_delivery"], one.id, one.lease, *tried, *ended, 0.0)
    return Trial(one.message_id, attempt)
