"""`daily_analytics` made anew, each day from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

import asyncpg
import msgspec

from jobs.analytics import days
from jobs.analytics.rebuilt_numbers import OURS
from jobs.analytics.weekly import READING
from jobs.family import Difference, OfNobody


class Days(OfNobody):
    """`daily_analytics`, keyed by day, from the day's numbers."""

    name = "daily_analytics"

    async def page(self, conn: asyncpg.Connection, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """Every day that has numbers or a row, in order."""
        rows = await conn.fetch(READING["page_days"], date.fromisoformat(after or "0001-01-01"), limit)
        return [(row["day"].isoformat(), OURS) for row in rows]

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, Any]:
        """The rows, but for when and how often they were revised."""
        await conn.execute(READING["wait_to_write"])
        rows = await conn.fetch(READING["load_days"], [date.fromisoformat(key) for key in keys])
        return {row["day"].isoformat(): (row["day"], *_told(row)) for row in rows}

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, Any]:
        """As a pass makes them."""
        rows = await days.made(conn, [_midnight(key) for key in keys])
        return {row[0].isoformat(): (*row[:7], *map(msgspec.json.decode, row[7:])) for row in rows}

    def differences(self, kept: Any, rebuilt: Any, now: datetime) -> Sequence[Difference]:
        """Column by column."""
        if kept is None:
            return [("(row)", "missing", "there")]
        pairs = zip(days.COLUMNS, kept, rebuilt, strict=True)
        return [(name, mine, theirs) for name, mine, theirs in pairs if mine != theirs]

    async def save(self, conn: asyncpg.Connection, rows: Sequence[Any]) -> None:
        """As a pass does."""
        await days.refresh(conn, [_midnight(row[0].isoformat()) for row in rows], datetime.now(UTC))

    async def delete(self, conn: asyncpg.Connection, keys: Sequence[str]) -> None:
        """Nothing to do: a day of no numbers is a row of zeros."""


def _midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(), UTC)


def _told(row: asyncpg.Record) -> list[Any]:
    values = [row[name] for name in days.COLUMNS[1:]]
    return [*values[:-2], *map(msgspec.json.decode, values[-2:])]
