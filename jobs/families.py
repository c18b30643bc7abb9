"""The families that exist: a new one is one line here."""

from __future__ import annotations

from typing import Final

from jobs import family
from jobs.courses import Courses
from jobs.referral import Referrals
from jobs.tracking import Tracking

FAMILIES: Final[tuple[family.Family, ...]] = (Tracking(), Referrals(), Courses())
BY_KIND: Final = family.index(FAMILIES)
KINDS: Final = {name: kind for name, (_, kind) in BY_KIND.items()}
