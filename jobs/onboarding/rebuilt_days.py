"""`onboarding_days` made anew and compared. Days that are noted are left to the next pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

import asyncpg

from jobs.family import Difference, OfNobody
from jobs.onboarding import days
from jobs.onboarding.days import QUERIES

OURS: Final = "onboarding_days"
"""Subject of days, which belong to nobody: they are looked at together."""
BEGINNING: Final = "0001-01-01"


class Days(OfNobody):
    """`onboarding_days`, keyed by day, each from the rows of the users who began on it."""

    name = "onboarding_days"

    async def page(self, conn: asyncpg.Connection, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """Every day that has a row, or on which something moved first, in order."""
        rows = await conn.fetch(QUERIES["page_onboarding_days"], date.fromisoformat(after or BEGINNING), limit)
        return [(row["day"].isoformat(), OURS) for row in rows]

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, Any]:
        """The rows; None of a day that is noted."""
        await conn.execute(QUERIES["wait_counting_days"])
        wanted = [date.fromisoformat(key) for key in keys]
        noted = await conn.fetch(QUERIES["noted_onboarding_days"], wanted)
        rows = await days.kept(conn, wanted)
        found: dict[str, Any] = {day.isoformat(): (day, *row) for day, row in rows.items()}
        return found | {row["day"].isoformat(): None for row in noted}

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, Any]:
        """As a pass makes them."""
        steps, found = await days.made(conn, [date.fromisoformat(key) for key in keys])
        return {day.isoformat(): (day, steps, numbers) for day, numbers in found.items()}

    def differences(self, kept: Any, rebuilt: Any, now: datetime) -> Sequence[Difference]:
        """What of a day; of one that was counted with other steps nothing, since the next pass counts it anew."""
        if kept is None or rebuilt is None:
            return [("(row)", "missing" if kept is None else "there", "there" if rebuilt else "no users")]
        (_, old, mine), (_, steps, theirs) = kept, rebuilt
        if old != steps:
            return []
        pairs = ((name, getattr(mine, name), getattr(theirs, name)) for name in mine.__struct_fields__)
        return [one for one in pairs if one[1] != one[2]]

    async def save(self, conn: asyncpg.Connection, rows: Sequence[Any]) -> None:
        """As a pass does."""
        await days.save(conn, [row[0] for row in rows])

    async def delete(self, conn: asyncpg.Connection, keys: Sequence[str]) -> None:
        """As a pass does."""
        await days.drop(conn, [date.fromisoformat(key) for key in keys])
