"""The overview of a range: sessions, how many completed, where the others stopped, what they would have paid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import asyncpg

from jobs.analytics import answers
from jobs.analytics.answers import QUERIES, Answer, Span, measured, share
from jobs.analytics.cells import BOT, price_end

_SERIES: Final = ("sessions", "completed", "actions")
_KEYS: Final = ("dropped", "prices", "devices")
SHOWN: Final = 200
"""Categories and devices that are told, the most frequent: clients name them as they like."""


async def read(conn: asyncpg.Connection, wanted: Span, *, bots: bool = False) -> Answer:
    """Sessions of a range and how they went. Rates are 0..1, and 0 where there was no session; times in ms.

    `bots`: theirs, too, each as a visitor of its own.
    """
    whole, series = _Sums(), defaultdict[datetime, _Sums](_Sums)
    for start, measure, key, n, total, _ in await conn.fetch(
        QUERIES["series_cells"], wanted.grain, measured(_SERIES, bots=bots), *wanted[1:]
    ):
        for sums in (whole, series[start]):
            sums.add(measure, key, n, total)
    for measure, key, n, total in await conn.fetch(
        QUERIES["sum_cells"], wanted.grain, measured(_KEYS, bots=bots), *wanted[1:]
    ):
        whole.add(measure, key, n, total)
    visitors = await conn.fetchval(QUERIES["unique_visitors"], *wanted)
    robots = await answers.bot_sessions(conn, wanted)
    return {
        **answers.told(wanted),
        **whole.told(),
        "uniqueUsers": visitors + robots if bots else visitors,
        "bots": 0 if bots else robots,
        "dropOffPoints": _dropped(whole.keys["dropped"], whole.of("sessions"))[:SHOWN],
        "priceDistribution": _prices(whole.keys["prices"]),
        "devices": answers.shares(whole.keys["devices"], "device")[:SHOWN],
        "series": [{"start": start, **series[start].told()} for start in wanted.starts()],
    }


class _Sums:
    """Cells by measure, and by measure and key."""

    def __init__(self) -> None:
        self.totals: dict[str, float] = defaultdict(float)
        self.keys: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def add(self, measure: str, key: str, n: int, total: float) -> None:
        """One cell, whosever it is."""
        name = measure.removeprefix(BOT)
        self.keys[name][key] += n
        self.totals[name] += total

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
    return [{"category": name or None, "sessions": n, "share": share(n, sessions)} for name, n in answers.most(counts)]


def _prices(counts: Mapping[str, int]) -> list[Answer]:
    """Final prices in buckets, those that hold one: `from` a bound up to below the next, `to`; below 0 mirrored."""
    number = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda one: float(one[0]))
    return [
        {"from": lower, "to": price_end(lower), "sessions": n, "share": share(n, number)}
        for lower, n in ((int(key), n) for key, n in ordered)
    ]
