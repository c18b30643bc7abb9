"""Whose sessions a fill makes, and when they begin."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from typing import NamedTuple

from jobs.analytics.cells import DAY, HOUR, MINUTE


class Who(NamedTuple):
    """Whose session it is, and when it begins: seconds since 1970, a whole minute."""

    subject: str
    session_id: str
    user_id: str | None
    anonymous_id: str | None
    org_id: str | None
    start: int

    @property
    def visitor(self) -> str:
        """As analytics counts it."""
        if self.user_id is not None:
            return "user:" + self.user_id
        return f"anonymous:{self.anonymous_id}" if self.anonymous_id is not None else f"session:{self.session_id}"


def start(drawn: random.Random, begin: date, now: datetime) -> int:
    """A minute since `begin`: more of them later, by day than by night, and on weekdays."""
    first = int(datetime(begin.year, begin.month, begin.day, tzinfo=UTC).timestamp())
    while True:
        at = first + int((now.timestamp() - first) * drawn.random() ** 0.8) // MINUTE * MINUTE
        hour, weekday = at // HOUR % 24, (at // DAY + 3) % 7
        if drawn.random() < (1.0 if 7 <= hour <= 21 else 0.25) * (1.0 if weekday < 5 else 0.7):
            return at


def who(drawn: random.Random, start: int, sessions: int) -> Who:
    """Three of ten sessions are opened by us, for an anonymous id or a user; half of the others have one of the two."""
    share = drawn.random()
    person = int(sessions * 0.5 * drawn.random() ** 1.5)
    user = f"user-{person:07d}" if share < 0.1 or 0.3 <= share < 0.55 else None
    anonymous = f"{person * 2654435761 % 2**64:016x}" if 0.1 <= share < 0.3 or 0.55 <= share < 0.75 else None
    org = f"org-{person % 997:04d}" if user is not None and person % 3 == 0 else None
    # One of ours has its start in its name: the same visitor cannot have two that begin at once.
    if share < 0.3:
        subject = f"user:{user}" if user is not None else f"anonymous:{anonymous}"
        return Who(subject, f"auto:{subject}@{start * 1000 + drawn.randrange(1000)}", user, anonymous, org, start)
    session_id = f"{drawn.getrandbits(128):032x}"
    return Who(f"session:{session_id}", session_id, user, anonymous, org, start)
