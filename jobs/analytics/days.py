"""`daily_analytics`: one row for each UTC day, made of the day's rollups. Making it again gives the same row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from db import sql

QUERIES: Final = sql.read("rollups")


class Day(msgspec.Struct):
    """Sums of a day; rates and averages of no session at all are 0."""

    sessions: int = 0
    interactions: int = 0
    unique_users: int = 0
    completed: int = 0
    duration: int = 0
    dropped: dict[str, int] = {}
    prices: dict[str, int] = {}

    def take(self, measure: str, key: str, n: int, total: int) -> None:
        """One cell of the day."""
        if measure == "sessions":
            self.sessions, self.duration = self.sessions + n, self.duration + total
        elif measure == "completed":
            self.completed += n
        elif measure == "visitors":
            self.unique_users += n
        elif measure == "actions" and key == "interaction.recorded":
            self.interactions += n
        elif measure in {"dropped", "prices"}:
            (self.dropped if measure == "dropped" else self.prices)[key] = n


COLUMNS: Final = (
    *("day", "sessions", "interactions", "unique_users", "completed_configurations", "conversion_rate"),
    *("average_session_duration_ms", "drop_off", "prices"),
)


async def refresh(conn: asyncpg.Connection, starts: Sequence[datetime], now: datetime) -> None:
    """Make the rows of these days anew; the caller owns the transaction."""
    if starts:
        rows = await made(conn, starts)
        await conn.execute(QUERIES["save_days"], *[list(column) for column in zip(*rows, strict=True)], now)


async def made(conn: asyncpg.Connection, starts: Sequence[datetime]) -> list[tuple[Any, ...]]:
    """The rows of these days, in COLUMNS, from the rollups as they are."""
    found: dict[datetime, Day] = defaultdict(Day)
    for start, measure, key, n, total in await conn.fetch(QUERIES["day_cells"], starts):
        found[start].take(measure, key, n, int(total))
    return [
        (
            *(start.date(), day.sessions, day.interactions, day.unique_users, day.completed),
            *(_share(day.completed, day.sessions), _share(day.duration, day.sessions)),
            *(_ordered(day.dropped), _ordered(day.prices)),
        )
        for start in starts
        for day in [found[start]]
    ]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _ordered(counts: dict[str, int]) -> str:
    return msgspec.json.encode(dict(sorted(counts.items()))).decode()
