"""A wall clock that stands still, for tests of what asks for the time itself: midnight may come while they run."""

from __future__ import annotations

from datetime import datetime, tzinfo


def standing(moment: datetime) -> type[datetime]:
    """A datetime whose now is this moment, to be put into a module in the place of its own."""

    class Standing(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return moment.astimezone(tz)

    return Standing
