"""What one visitor counts for: distinct visitors of any range of days, and weekly cohorts.

Distinct counts do not add up over days, but this does: a visitor counts in a range exactly once with the first of its
days in it, the one whose day before lies in front of the range. So every active day is kept with the day before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from jobs.analytics.cells import WEEK, Cell, Count, Grain, cut

_GRAINS: Final[tuple[Grain, ...]] = ("hour", "day")


def of(hours: Iterable[int]) -> dict[Cell, Count]:
    """The cells of a visitor whose sessions began in these hours; seconds since 1970."""
    found: dict[Cell, Count] = {}
    active = sorted(set(hours))
    for grain in _GRAINS:
        before = ""
        for start in sorted({cut(hour, grain) for hour in active}):
            found[Cell(grain, "visitors", start, before)] = Count(1)
            before = str(start)
    weeks = sorted({cut(hour, "week") for hour in active})
    for week in weeks:
        found[Cell("week", "retention", weeks[0], str((week - weeks[0]) // WEEK))] = Count(1)
    return found


def is_first(key: str, begin: int) -> bool:
    """Whether a cell of `visitors` counts in a range that begins there."""
    return not key or int(key) < begin
