"""The facts of usage: one row of `usage_records` for each action that was taken."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from jobs.action import Action
from jobs.family import Outcome, Row
from jobs.usage.booking import NOTHING_BOOKED, Booked
from jobs.usage.quota import rfc3339
from jobs.usage.rows import Counter

COLUMNS: Final = (
    *("subject", "id", "kind", "user_id", "org_id", "action", "quantity", "booked", "period_start", "period_end"),
    *("number", "plan", "limit_version", "notices", "resource_id", "reservation_id", "metadata", "outcome"),
    *("at", "received_at", "flags"),
)
_encode: Final = msgspec.json.Encoder().encode
_ABSENT: Final = (b"", b"null")


def row(
    a: Action,
    quantity: int | None = None,
    counter: Counter | None = None,
    booked: Booked = NOTHING_BOOKED,
    *,
    at: datetime | None = None,
    action: str | None = None,
    number: int | None = None,
    resource: str | None = None,
    reservation: str | None = None,
    metadata: str | None = None,
    outcome: Outcome | None = None,
) -> Row:
    """The fact. Of a decision `at` is the arrival, since the client's own clock had no say in it."""
    told = None if outcome is None else _encode(outcome).decode()
    if counter is None:
        where: Row = (action, quantity, 0, None, None, number, None, None, None)
    else:
        where = (
            *(counter.action, quantity, booked.quantity, counter.period_start, counter.period_end, counter.records),
            *(counter.plan, counter.limit_version, booked.notices),
        )
    return (
        *(a.subject, a.id, a.kind, a.user_id, a.org_id, *where, resource, reservation, metadata, told),
        *(a.at if at is None else at, a.received_at, a.flags | booked.correction),
    )


def text(raw: msgspec.Raw) -> str | None:
    """Free JSON as jsonb takes it."""
    body = bytes(raw)
    return None if body in _ABSENT else body.decode()


def recorded_outcome(action: str | None, booked: int, start: datetime | None, end: datetime | None) -> Outcome:
    """Of what was tracked: made from the fact's own columns, so that no fact has to carry it."""
    return {
        "action": action,
        "quantity": booked,
        "periodStart": None if start is None else rfc3339(start),
        "periodEnd": None if end is None else rfc3339(end),
    }
