"""The read model of a subject's usage: what was counted, and every expiry and change of plan that is to come.

It stays true as time passes: jobs/usage/view.py reads it.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from jobs.usage import periods
from jobs.usage.periods import Rule
from jobs.usage.plans import Limit
from jobs.usage.rows import Account


class Held(msgspec.Struct, array_like=True):
    """One counter. `expiring`: (when, quantity) of its open reservations; those that are not listed end later."""

    action: str
    start: datetime
    end: datetime | None
    used: int
    reserved: int = 0
    expiring: list[tuple[datetime, int]] = []


class Model(msgspec.Struct, omit_defaults=True):
    """All that is known of a subject; the default is a subject of which nothing is known."""

    plan: str | None = None
    next_plan: str | None = None
    next_plan_at: datetime | None = None
    overrides: dict[str, Limit] = {}
    rules: tuple[Rule, ...] = periods.DEFAULT
    counters: list[Held] = []
    listed_until: datetime | None = None
    """From here on more reservations expire than are listed."""

    def account(self) -> Account:
        """Its plan and limits reckon as the worker's do."""
        plan = (self.plan, self.next_plan, self.next_plan_at)
        return Account("", periods.EPOCH, *plan, self.overrides, self.rules)
