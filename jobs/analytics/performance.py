"""The answer of a metric: how its values are distributed, over a range, by its hours or days, and by path."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg

from jobs.analytics import answers, cells
from jobs.analytics.answers import QUERIES, Answer, Span
from jobs.analytics.metrics import BY_PATH

_QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
PATHS_MOST: Final = 200
"""Paths that an answer tells, those with the most values."""


async def read(conn: asyncpg.Connection, wanted: Span, metric: str) -> Answer:
    """One metric: count, mean, quantiles within 1 %, the largest value of all; by path where it has any."""
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
        "paths": await _paths(conn, wanted, metric) if metric in BY_PATH else [],
    }


async def _paths(conn: asyncpg.Connection, wanted: Span, metric: str) -> list[Answer]:
    paths = defaultdict[str, _Values](_Values)
    for _, key, n, total, most in await conn.fetch(QUERIES["cover_cells"], *wanted.cover(), ["path:" + metric]):
        path, index = cells.parts(key)
        paths[str(path)].add([int(index or 0)], [n], total, most)
    found = sorted(
        ((path, values.told()) for path, values in paths.items()), key=lambda one: (-one[1]["count"], one[0])
    )
    return [{"path": path, **figures} for path, figures in found[:PATHS_MOST]]


class _Values:
    """A histogram with its sum and its largest value."""

    def __init__(self) -> None:
        self.buckets: dict[int, int] = defaultdict(int)
        self.total = 0.0
        self.most: float | None = None

    def add(self, buckets: Sequence[int], counts: Sequence[int], total: float, most: float | None) -> None:
        """One more."""
        for index, n in zip(buckets, counts, strict=True):
            self.buckets[index] += n
        self.total += total
        if most is not None:
            self.most = most if self.most is None else max(self.most, most)

    def told(self) -> Answer:
        """null where there is no value."""
        number = sum(self.buckets.values())
        found = zip(_QUANTILES, cells.quantiles(self.buckets, list(_QUANTILES.values())), strict=True)
        mean = self.total / number if number else None
        return {"count": number, "mean": mean, **{name: self._most(q) for name, q in found}, "max": self.most}

    def _most(self, found: float | None) -> float | None:
        """Never above the largest value, which is known exactly."""
        return found if found is None or self.most is None else min(found, max(self.most, -cells.LARGEST))


async def names(conn: asyncpg.Connection) -> list[str]:
    """Every metric that there is."""
    return [row["name"] for row in await conn.fetch(QUERIES["metric_names"])]
