"""The answer of a metric: how its values are distributed, over a range, by its hours or days, and by path."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

import asyncpg

from jobs.analytics import answers, cells
from jobs.analytics.answers import QUERIES, Answer, Span
from jobs.analytics.metrics import BY_PATH
from jobs.analytics.paths import PROBED, READ

_QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
PATHS_MOST: Final = 200
"""Paths that an answer tells, those with the most values."""


async def read(conn: asyncpg.Connection, wanted: Span, metric: str, most: int = READ) -> Answer:
    """One metric: count, mean, quantiles within 1 %, the largest value of all; by path where it has any.

    `most`: paths that are read of each start.
    """
    whole, series = _Values(), defaultdict[datetime, _Values](_Values)
    for start, *histogram in await conn.fetch(QUERIES["histograms"], wanted.grain, "metric:" + metric, *wanted[1:]):
        for values in (whole, series[start]):
            values.add(*histogram)
    return {
        **answers.told(wanted),
        "metric": metric,
        "accuracy": cells.ACCURACY,
        **whole.told(),
        "series": [{"start": start, **series[start].told()} for start in wanted.starts()],
        **await _by_path(conn, wanted, metric, whole, most),
    }


async def _by_path(conn: asyncpg.Connection, wanted: Span, metric: str, whole: _Values, most: int) -> Answer:
    """The paths with the most values, what was not told of them, and all that is not theirs together.

    Clients name paths as they like: of each hour, day or week some are read, as of the steps of `paths`.
    """
    paths, missed = dict[str, _Values](), 0
    if metric in BY_PATH:
        chosen, missed = await _most_called(conn, wanted, metric, most)
        paths = await _of_paths(conn, wanted, metric, chosen)
    told = [{"path": path, **values.told()} for path, values in paths.items()]
    rest = whole.without(paths.values()).told()
    del rest["max"]
    return {"paths": told, "missedAtMost": missed, "other": rest}


async def _most_called(conn: asyncpg.Connection, wanted: Span, metric: str, most: int) -> tuple[list[str], int]:
    """Keys of paths, the most values first; and how many more than the last one another path can have."""
    cover, measures = wanted.cover(), ["called:" + metric]
    rows = await conn.fetch(QUERIES["most_paths"], *cover, measures, most, PROBED * PATHS_MOST)
    missed: int = rows[0]["missed"] if rows else 0
    counts = {row["key"]: row["n"] for row in rows}
    if missed:
        counts = dict(await conn.fetch(QUERIES["counts_of"], *cover, measures, list(counts)))
    return sorted(counts, key=lambda key: (-counts[key], key))[:PATHS_MOST], missed


async def _of_paths(conn: asyncpg.Connection, wanted: Span, metric: str, chosen: Sequence[str]) -> dict[str, _Values]:
    """Their histograms, in the same order."""
    prefixes = {key[:-1] + ",": _Values() for key in chosen}
    for prefix, *histogram in await conn.fetch(
        QUERIES["path_histograms"], *wanted.cover(), "path:" + metric, list(prefixes)
    ):
        prefixes[prefix].add(*histogram)
    return {str(cells.parts(prefix[:-1] + "]")[0]): values for prefix, values in prefixes.items()}


class _Values:
    """A histogram with its sum and its largest value."""

    def __init__(self) -> None:
        self.buckets: dict[int, int] = defaultdict(int)
        self.total = Decimal()
        self.most: float | None = None

    def add(self, buckets: Sequence[int], counts: Sequence[int], total: Decimal, most: float | None) -> None:
        """One more."""
        for index, n in zip(buckets, counts, strict=True):
            self.buckets[index] += n
        self.total += total
        if most is not None:
            self.most = most if self.most is None else max(self.most, most)

    def without(self, parts: Iterable[_Values]) -> _Values:
        """What is left of a whole; its largest value nobody knows."""
        rest = _Values()
        rest.buckets.update(self.buckets)
        rest.total = self.total
        for part in parts:
            rest.add(list(part.buckets), [-n for n in part.buckets.values()], -part.total, None)
        rest.buckets = defaultdict(int, {index: n for index, n in rest.buckets.items() if n > 0})
        return rest

    def told(self) -> Answer:
        """null where there is no value."""
        number = sum(self.buckets.values())
        found = zip(_QUANTILES, cells.quantiles(self.buckets, list(_QUANTILES.values())), strict=True)
        mean = float(self.total / number) if number else None
        return {"count": number, "mean": mean, **{name: self._most(q) for name, q in found}, "max": self.most}

    def _most(self, found: float | None) -> float | None:
        """Never above the largest value, which is known exactly."""
        return found if found is None or self.most is None else min(found, max(self.most, -cells.LARGEST))


async def names(conn: asyncpg.Connection) -> list[str]:
    """Every metric that there is."""
    return [row["name"] for row in await conn.fetch(QUERIES["metric_names"])]
