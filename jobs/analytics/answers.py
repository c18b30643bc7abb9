"""The answers of `/api/admin/analytics/`: sums of rollups, put together. None of them reads a fact of a closed day.

A range is cut to whole hours up to 48 of them, else to whole UTC days; every answer says the range it holds for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

import asyncpg
import msgspec

from db import sql
from jobs.analytics import cells
from jobs.analytics.cells import DAY, HOUR, cut
from jobs.analytics.counted import END, START
from jobs.analytics.funnel_catalog import Funnel
from jobs.catalog import Catalog

QUERIES: Final = sql.read("analytics")
FINE: Final = 48 * HOUR
"""Ranges up to here are told by the hour."""
WEEKS: Final = 12

Answer = dict[str, Any]


class Span(NamedTuple):
    """A range of starts: from `begin`, before `end`, cut to the grain."""

    grain: Literal["hour", "day"]
    begin: datetime
    end: datetime

    def starts(self) -> list[datetime]:
        """Every start in it, in order: series have no gaps."""
        step = timedelta(seconds=HOUR if self.grain == "hour" else DAY)
        return [self.begin + n * step for n in range(round((self.end - self.begin) / step))]


def span(begin: datetime, end: datetime, now: datetime) -> Span:
    """Whole hours or days that cover a range; hours while they are kept."""
    first, last = begin.timestamp(), end.timestamp()
    is_fine = last - first <= FINE and first >= now.timestamp() - cells.KEPT["hour"]
    grain: Literal["hour", "day"] = "hour" if is_fine else "day"
    step = HOUR if is_fine else DAY
    return Span(grain, _moment(cut(first, grain)), _moment(cut(last - 0.000001, grain) + step))


async def overview(conn: asyncpg.Connection, wanted: Span) -> Answer:
    """Sessions of a range and how they went. Rates are 0..1, and 0 where there was no session; times in ms."""
    measures = ["sessions", "completed", "actions", "dropped", "prices", "devices"]
    rows = await conn.fetch(QUERIES["series_cells"], wanted.grain, measures, wanted.begin, wanted.end)
    found = _Sums()
    series: dict[datetime, _Sums] = defaultdict(_Sums)
    for start, measure, key, n, total, _ in rows:
        found.add(measure, key, n, total)
        series[start].add(measure, key, n, total)
    unique = await conn.fetchval(QUERIES["unique_visitors"], *wanted)
    return {
        **_told(wanted),
        **found.told(),
        "uniqueUsers": unique,
        "dropOffPoints": _dropped(found.keys["dropped"], found.of("sessions")),
        "priceDistribution": _prices(found.keys["prices"]),
        "devices": _shares(found.keys["devices"], "device"),
        "series": [{"start": start, **series[start].told()} for start in wanted.starts()],
    }


class _Sums:
    """Cells by measure, and by measure and key."""

    def __init__(self) -> None:
        self.totals: dict[str, float] = defaultdict(float)
        self.keys: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def add(self, measure: str, key: str, n: int, total: float) -> None:
        """One cell."""
        self.keys[measure][key] += n
        self.totals[measure] += total

    def of(self, measure: str) -> int:
        """All keys of a measure."""
        return sum(self.keys[measure].values())

    def told(self) -> Answer:
        """What an overview and each point of its series say."""
        sessions, completed = self.of("sessions"), self.of("completed")
        return {
            "sessions": sessions,
            "interactions": self.keys["actions"].get("interaction.recorded", 0),
            "completedConfigurations": completed,
            "conversionRate": share(completed, sessions),
            "averageSessionDurationMs": round(self.totals["sessions"] / sessions) if sessions else 0,
        }


def _dropped(counts: Mapping[str, int], sessions: int) -> list[Answer]:
    """Where sessions that did not complete stopped: their last category; null: they had no interaction."""
    return [{"category": name or None, "sessions": n, "share": share(n, sessions)} for name, n in _most(counts)]


def _prices(counts: Mapping[str, int]) -> list[Answer]:
    """Final prices: `from` is the lower bound of a bucket, the next one's is its upper."""
    number = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda one: float(one[0]))
    return [{"from": int(lower), "sessions": n, "share": share(n, number)} for lower, n in ordered]


def _shares(counts: Mapping[str, int], name: str) -> list[Answer]:
    number = sum(counts.values())
    return [{name: key or None, "sessions": n, "share": share(n, number)} for key, n in _most(counts)]


async def funnel(conn: asyncpg.Connection, wanted: Span, chosen: Funnel) -> Answer:
    """Sessions that took each step. `dropOff`: of those who entered, who did not go on, 0..1; times in ms."""
    measures = ["funnel:" + chosen.name, "gap:" + chosen.name]
    entered = [0] * len(chosen.steps)
    gaps: dict[int, dict[int, int]] = defaultdict(dict)
    for measure, key, n, _ in await conn.fetch(QUERIES["sum_cells"], wanted.grain, measures, wanted.begin, wanted.end):
        if measure.startswith("gap:"):
            step, index = (int(part or 0) for part in cells.parts(key))
            gaps[step][index] = n
        elif int(key) < len(entered):
            entered[int(key)] = n
    following = [*entered[1:], None]
    return {
        **_told(wanted),
        "funnel": chosen.name,
        "windowSeconds": chosen.window,
        "conversionRate": share(entered[-1], entered[0]),
        "steps": [
            _step(step.title, entered[n], following[n], entered[0], gaps[n]) for n, step in enumerate(chosen.steps)
        ],
    }


def _step(title: str, entered: int, went_on: int | None, first: int, gaps: Mapping[int, int]) -> Answer:
    return {
        "step": title,
        "entered": entered,
        "converted": went_on,
        "dropOff": None if went_on is None else share(entered - went_on, entered),
        "shareOfFirst": share(entered, first),
        "medianTimeToNextMs": _rounded(cells.quantile(gaps, 0.5)),
    }


async def popular(conn: asyncpg.Connection, limit: int) -> Answer:
    """Final configurations by how many sessions ended with them, and the last selection of each category."""
    number = await conn.fetchval(QUERIES["configured_sessions"])
    rows = await conn.fetch(QUERIES["popular_configurations"], limit)
    choices: dict[str, dict[str, int]] = defaultdict(dict)
    for key, n in await conn.fetch(QUERIES["all_cells"], "choice"):
        category, value = (str(part) for part in cells.parts(key))
        choices[category][value] = n
    return {
        "configuredSessions": number,
        "configurations": [
            {"configuration": msgspec.Raw(body.encode()), "sessions": n, "share": share(n, number)}
            for _, n, body in rows
        ],
        "categories": [
            {"category": name, "values": _shares(counts, "value")[:limit]} for name, counts in sorted(choices.items())
        ],
    }


async def performance(conn: asyncpg.Connection, wanted: Span, metric: str) -> Answer:
    """One metric: count, mean, quantiles within 1 %, the largest value of all; by path where it has any."""
    rows = await conn.fetch(QUERIES["metric_cells"], wanted.grain, "metric:" + metric, wanted.begin, wanted.end)
    whole, series, paths = _Values(), defaultdict[datetime, _Values](_Values), defaultdict[str, _Values](_Values)
    for start, key, n, total, most in rows:
        path, index = cells.parts(key)
        for values in (whole, series[start], paths[str(path)]):
            values.add(int(index or 0), n, total, most)
    by_path = [{"path": path, **values.told()} for path, values in sorted(paths.items()) if path]
    return {
        **_told(wanted),
        "metric": metric,
        "accuracy": cells.ACCURACY,
        **whole.told(),
        "series": [{"start": start, **series[start].told()} for start in wanted.starts()],
        "paths": sorted(by_path, key=lambda one: (-one["count"], one["path"])),
    }


class _Values:
    """A histogram with its sum and its largest value."""

    def __init__(self) -> None:
        self.buckets: dict[int, int] = defaultdict(int)
        self.total = 0.0
        self.most: float | None = None

    def add(self, index: int, n: int, total: float, most: float | None) -> None:
        """One cell."""
        self.buckets[index] += n
        self.total += total
        if most is not None:
            self.most = most if self.most is None else max(self.most, most)

    def told(self) -> Answer:
        """null where there is no value."""
        number = sum(self.buckets.values())
        quantiles = {f"p{round(q * 100)}": self._quantile(q) for q in (0.5, 0.95, 0.99)}
        mean = self.total / number if number else None
        return {"count": number, "mean": mean, **quantiles, "max": self.most}

    def _quantile(self, q: float) -> float | None:
        """Never above the largest value, which is known exactly."""
        found = cells.quantile(self.buckets, q)
        return found if found is None or self.most is None else min(found, max(self.most, -cells.LARGEST))


async def metric_names(conn: asyncpg.Connection) -> list[str]:
    """Every metric that there is."""
    return [row["name"] for row in await conn.fetch(QUERIES["metric_names"])]


async def retention(conn: asyncpg.Connection, now: datetime, weeks: int = WEEKS) -> Answer:
    """Visitors by the week (Monday, UTC) of their first session: how many came back in each week after it."""
    this = cut(now.timestamp(), "week")
    begin = this - (weeks - 1) * cells.WEEK
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for start, week, n in await conn.fetch(QUERIES["retention_cells"], _moment(begin), _moment(this)):
        found[int(start.timestamp())][week] = n
    return {
        "cohorts": [
            _cohort(start, found[start], (this - start) // cells.WEEK) for start in range(begin, this + 1, cells.WEEK)
        ]
    }


def _cohort(start: int, counts: Mapping[int, int], last: int) -> Answer:
    size = counts.get(0, 0)
    visitors = [counts.get(week, 0) for week in range(last + 1)]
    return {
        "week": _moment(start).date(),
        "visitors": size,
        "retained": [{"week": week, "visitors": n, "share": share(n, size)} for week, n in enumerate(visitors)],
    }


async def paths(conn: asyncpg.Connection, wanted: Span, limit: int) -> Answer:
    """The most frequent steps from one category or page to another; `share` of all that left the same one."""
    counts: dict[tuple[str | None, str | None], int] = {}
    left: dict[str | None, int] = defaultdict(int)
    for _, key, n, _ in await conn.fetch(QUERIES["sum_cells"], wanted.grain, ["next"], wanted.begin, wanted.end):
        before, after = (None if part is None else str(part) for part in cells.parts(key))
        counts[before, after] = n
        left[before] += n
    most = sorted(counts.items(), key=lambda one: (-one[1], one[0][0] or "", one[0][1] or ""))[:limit]
    return {
        **_told(wanted),
        "steps": [
            {"from": START if a is None else a, "to": END if b is None else b, "times": n, "share": share(n, left[a])}
            for (a, b), n in most
        ],
    }


async def through(conn: asyncpg.Connection, now: datetime) -> datetime:
    """Every action that was applied before this is in the answers."""
    found: datetime = await conn.fetchval(QUERIES["rolled_through"], now)
    return found


def funnel_named(catalog: Catalog, name: str) -> Funnel | None:
    """A funnel of the catalog, or the default one."""
    from jobs.analytics.funnel_catalog import funnels

    return next((one for one in funnels(catalog.analytics, catalog.funnels) if one.name == name), None)


def share(part: int, whole: int) -> float:
    """0..1, and 0 of nothing."""
    return round(part / whole, 6) if whole else 0.0


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def _told(wanted: Span) -> Answer:
    return {"from": wanted.begin, "to": wanted.end, "grain": wanted.grain}


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
