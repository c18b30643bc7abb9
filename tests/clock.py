"""Midnight may come while tests run: a clock that stands still, and the time until it has passed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

CLEAR: Final = timedelta(seconds=15)
"""Before midnight no test begins that would see two days: the other may be of another week, month and quota."""


def until_midnight_has_passed() -> float:
    """Seconds, when it is near; else 0."""
    now = datetime.now(UTC)
    left = CLEAR - (now + CLEAR - (now + CLEAR).replace(hour=0, minute=0, second=0, microsecond=0))
    return left.total_seconds() if timedelta(0) < left <= CLEAR else 0.0


def standing(moment: datetime) -> type[datetime]:
    """A datetime whose now is this moment, to be put into a module in the place of its own."""

    class Standing(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return moment.astimezone(tz)

    return Standing
