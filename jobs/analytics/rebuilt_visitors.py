"""`visitor_hours` made anew, from when the sessions of each visitor began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from jobs.analytics.rebuilt_numbers import OURS
from jobs.analytics.weekly import READING
from jobs.family import Difference, OfNobody


class VisitorHours(OfNobody):
    """`visitor_hours`, as one row: what is there too much, and what is missing."""

    name = "visitor_hours"

    async def page(self, conn: asyncpg.Connection, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """One."""
        return [] if after else [("all", OURS)]

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, Any]:
        """(visitor, hour, sessions) that no session gives."""
        await conn.execute(READING["wait_to_write"])
        return {"all": [tuple(row) for row in await conn.fetch(READING["wrong_visitor_hours"])]}

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, Any]:
        """Those that sessions give and that are not there."""
        return {"all": [tuple(row) for row in await conn.fetch(READING["missing_visitor_hours"])]}

    def differences(self, kept: Any, rebuilt: Any, now: datetime) -> Sequence[Difference]:
        """Both lists: equal only when both are empty."""
        return [("hours", kept, rebuilt)]

    async def save(self, conn: asyncpg.Connection, rows: Sequence[Any]) -> None:
        """All anew."""
        await conn.execute(READING["empty_visitor_hours"])
        await conn.execute(READING["fill_visitor_hours"])

    async def delete(self, conn: asyncpg.Connection, keys: Sequence[str]) -> None:
        """Nothing to do: there is one row, which is always rebuilt."""
