"""The families that exist: a new one is one line here."""

from __future__ import annotations

from typing import Final

from jobs import family
from jobs.courses import Courses
from jobs.onboarding import Onboarding
from jobs.referral import Referrals
from jobs.tracking import Tracking

FAMILIES: Final[tuple[family.Family, ...]] = (Tracking(), Onboarding(), Referrals(), Courses())
BY_KIND: Final = family.index(FAMILIES)
KINDS: Final = {name: kind for name, (_, kind) in BY_KIND.items()}
