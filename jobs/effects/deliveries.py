"""Delivering: claim, try, write down how it went. The row in Postgres is the truth, whoever holds the job."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import asyncpg

from db import log, metrics, sql
from jobs.effects import delivery
from jobs.effects.carriers import Carriers
from jobs.effects.delivery import DELAYS, HOUR, Attempt, Delivery, Status
from jobs.effects.gates import REST_AFTER, Gates

QUERIES: Final = sql.read("deliveries")
DESTINATIONS: Final = sql.read("destinations")

LEASE_SECONDS: Final = 10.0
"""What a lease has beyond the time-out of a try: a wait at the gate, and writing down how it went."""
REST_SECONDS: Final = (5.0, 300.0)
MOST_SLOWING: Final = HOUR
"""How long a destination may have everything wait by Retry-After."""
GIVE_UP_SECONDS: Final = sum(DELAYS) + 24 * HOUR
GAVE_UP: Final = "its destination did not answer for as long as all tries together take"
GONE: Final = "the receiver answered 410 Gone"

logger = log.get("effects")
_warn = log.Seldom(logger, seconds=60)


class Courier:
    """Delivers in one process."""

    def __init__(self, pool: asyncpg.Pool, carriers: Carriers, seconds: float) -> None:
        """`seconds`: the time-out of one try."""
        self.pool, self.carriers = pool, carriers
        self.lease = seconds + LEASE_SECONDS
        self.gates = Gates()

    async def deliver(self, one: UUID) -> list[UUID]:
        """Try one delivery, if it may go now; what may go because of it.

        Dying at any moment: the lease ends, and the sweep hands it over again.
        """
        row = await self.pool.fetchrow(QUERIES["claim_delivery"], one, self.lease)
        if row is None:
            return []
        claimed = Delivery(*row)
        gate, probing = self.gates[claimed.destination], claimed.failures >= REST_AFTER
        if not await gate.enter(probing=probing):
            await self._put_back(claimed, gate.later())
            return []
        well, started = None, time.monotonic()
        try:
            if probing and not await self._may_probe(claimed):
                await self._put_back(claimed, 1.0)
                return []
            attempt = await self._try(claimed)
            well = not attempt.ailing
            return await self._finish(claimed, attempt, probing)
        finally:
            # Behind the writing: whoever gets this place has been told of a failure.
            gate.leave(well=well, seconds=time.monotonic() - started)

    async def _try(self, claimed: Delivery) -> Attempt:
        at, started = datetime.now(UTC), time.monotonic()
        try:
            return await self.carriers.send(claimed)
        except asyncio.CancelledError:
            # The receiver may have it: that is an attempt, too. The next one is due at once, in another process.
            seconds = int((time.monotonic() - started) * 1000)
            stopped = Attempt(at, seconds, error="the worker was stopped")
            await asyncio.shield(self._write(claimed, stopped, "pending", None, 0.0))
            raise

    async def _may_probe(self, claimed: Delivery) -> bool:
        found = await self.pool.fetchrow(DESTINATIONS["probe_destination"], claimed.destination, self.lease, REST_AFTER)
        return found is not None

    async def _put_back(self, claimed: Delivery, seconds: float) -> None:
        await self.pool.execute(QUERIES["put_back_delivery"], claimed.id, claimed.lease, seconds)

    async def _finish(self, claimed: Delivery, attempt: Attempt, probing: bool) -> list[UUID]:
        metrics.ATTEMPTS.labels(claimed.sort, attempt.result).inc()
        status, reason, seconds = _verdict(claimed, attempt)
        if attempt.ok and not claimed.failures:
            return await self._write(claimed, attempt, status, reason, seconds)
        said = {"delivery": str(claimed.id), "destination": str(claimed.destination), "status": attempt.status}
        if status == "dead":
            logger.error("a delivery is dead", **said, error=attempt.error)
        elif not attempt.ok:
            _warn("a delivery failed", **said, error=attempt.error)
        async with self.pool.acquire() as conn, conn.transaction():
            # The destination's row first: two that end at once wait for each other there, and not in a circle.
            await _judge(conn, claimed, attempt, probing)
            following = await self._write(claimed, attempt, status, reason, seconds, conn)
            if attempt.gone:
                await conn.execute(DESTINATIONS["discard_pending_of_destination"], claimed.destination, GONE)
            return following

    async def _write(
        self,
        claimed: Delivery,
        attempt: Attempt,
        status: Status,
        reason: str | None,
        seconds: float,
        conn: asyncpg.Connection | None = None,
    ) -> list[UUID]:
        tried = (attempt.at, attempt.milliseconds, attempt.status, attempt.error, attempt.response)
        rows = await (conn or self.pool).fetch(
            QUERIES["finish_delivery"], claimed.id, claimed.lease, *tried, status, reason, seconds
        )
        return [row["id"] for row in rows]


def _verdict(claimed: Delivery, attempt: Attempt) -> tuple[Status, str | None, float]:
    """What becomes of the delivery, why, and the seconds to its next try."""
    if attempt.ok:
        return "delivered", None, 0.0
    if attempt.gone:
        return "discarded", GONE, 0.0
    seconds = delivery.delay(claimed.tries + 1, attempt)
    if seconds is None:
        return "dead", f"{claimed.tries + 1} tries failed", 0.0
    return "pending", None, seconds


async def _judge(conn: asyncpg.Connection, claimed: Delivery, attempt: Attempt, probing: bool) -> None:
    """What an attempt says of its destination."""
    if attempt.gone:
        await conn.execute(DESTINATIONS["disable_destination"], claimed.destination, GONE)
        logger.warning("a destination is disabled", destination=str(claimed.destination), reason=GONE)
    elif attempt.ailing:
        slowing = min(attempt.retry_after, MOST_SLOWING)
        await conn.execute(
            DESTINATIONS["destination_failed"], claimed.destination, REST_AFTER, *REST_SECONDS, probing, slowing
        )
    else:
        await conn.execute(DESTINATIONS["destination_answered"], claimed.destination, probing)
