"""The families that exist: a new one is one line here.

Their order is that of the locks, for whoever applies, writes through a route or rebuilds: the row of the partition
first, of several the lowest; then the lock of claims (`serialise_claims`, referrals); then that of the courses
(`share_courses` of batches and rebuilds, `lock_courses` of who changes one); rows at last, by key. Nobody takes one of
the four while holding a later one, but for a batch that isolates a poison action: decision 0013 says how that ends.
"""

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
