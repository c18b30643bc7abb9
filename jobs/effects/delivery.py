"""One delivery: what goes to one destination, how a try of it went, when the next one is due."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal, NamedTuple
from uuid import UUID

import msgspec

Sort = Literal["webhook", "nats", "analytics"]
Status = Literal["pending", "delivered", "dead", "discarded"]

MINUTE, HOUR = 60.0, 3600.0
DELAYS: Final = (5.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
"""Seconds between one try and the next, as Standard Webhooks proposes; behind the last one it is dead."""
JITTER: Final = (0.8, 1.2)
MOST_RETRY_AFTER: Final = 24 * HOUR
TEXT: Final = 1024
"""Characters kept of an answer or an error."""


class Delivery(NamedTuple):
    """A delivery that this process has claimed; nobody else sends it until `lease`."""

    id: UUID
    destination: UUID
    sort: Sort
    url: str
    secret: str | None
    previous_secret: str | None
    failures: int
    """Of the destination, in a row."""
    message_id: str
    subject: str
    type: str
    at: datetime
    data: str
    """JSON."""
    tries: int
    """Before this one."""
    lease: datetime

    def body(self) -> bytes:
        """What a receiver gets: {"type", "timestamp", "data"}."""
        return msgspec.json.encode({"type": self.type, "timestamp": self.at, "data": msgspec.Raw(self.data.encode())})


class Attempt(NamedTuple):
    """One try: `status` is that of HTTP, if there was one; `error` says in words why nothing came of it."""

    at: datetime
    milliseconds: int
    status: int | None = None
    error: str | None = None
    response: str | None = None
    retry_after: float = 0.0
    """Seconds that the receiver asked for."""

    @property
    def ok(self) -> bool:
        """Whether the receiver has it."""
        return self.error is None and (self.status is None or 200 <= self.status < 300)

    @property
    def gone(self) -> bool:
        """Whether the receiver wants nothing any more."""
        return self.status == 410

    @property
    def ailing(self) -> bool:
        """Whether it is the destination that fails, and not this one delivery."""
        return not self.ok and (self.status is None or self.status >= 500 or self.status == 429)

    @property
    def result(self) -> str:
        """For the metric: delivered, failed (by the answer), unreachable (no answer)."""
        return "delivered" if self.ok else "unreachable" if self.status is None else "failed"


def delay(tries: int, attempt: Attempt) -> float | None:
    """Seconds to the next try behind `tries` of them; None when there is none."""
    if tries > len(DELAYS):
        return None
    return max(DELAYS[tries - 1] * random.uniform(*JITTER), attempt.retry_after)


def retry_after(header: str | None) -> float:
    """Seconds of a Retry-After header, a number or a date, bounded by a day; 0 when it says nothing."""
    if not header:
        return 0.0
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return 0.0
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), MOST_RETRY_AFTER)


def text(value: str | bytes) -> str:
    """Text of a stranger as Postgres takes it, cut."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return value[:TEXT].replace("\0", "\ufffd").encode(errors="replace").decode()
