"""The families that exist: a new one is one line here."""

from __future__ import annotations

from typing import Final

from jobs import family
from jobs.courses.family import Courses
from jobs.onboarding.family import Onboarding
from jobs.referrals.family import Referrals
from jobs.tracking.family import Tracking
from jobs.usage.family import Usage

FAMILIES: Final[tuple[family.Family, ...]] = (Tracking(), Onboarding(), Referrals(), Courses(), Usage())
BY_KIND: Final = family.index(FAMILIES)
KINDS: Final = {name: kind for name, (_, kind) in BY_KIND.items()}
