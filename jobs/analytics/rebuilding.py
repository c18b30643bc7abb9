"""Rollups made anew from what they come of, and compared: for `python -m jobs rebuild`.

What sessions count for comes from their facts, every number from what sessions count for, days from the numbers.
Sessions that are noted and not rolled up yet are left to the next pass. Writing keeps passes waiting meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobs.analytics.rebuilt_days import Days
from jobs.analytics.rebuilt_numbers import Rollups
from jobs.analytics.rebuilt_sessions import SessionRollups
from jobs.analytics.rebuilt_visitors import VisitorHours
from jobs.family import StateTable


def tables() -> Sequence[StateTable]:
    """In the order in which one follows from the other."""
    return SessionRollups(), VisitorHours(), Rollups(), Days()
