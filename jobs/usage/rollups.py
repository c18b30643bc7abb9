"""`usage_rollups`: usage by plan and meter, added up as it changes, so that the overview reads no counters.

Whoever writes `usage_counters`, a batch, the schedule or an erasure, notes in the same statement what it changed (by
triggers, as new rows of `usage_changes`), so that no two writers wait for each other; a pass folds these rows into the
sums. Both tables together are true at any moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg

from db import sql
from jobs.family import Difference, OfNobody

QUERIES: Final = sql.read("usage_rollups")
ROWS: Final = 50_000
"""Changes that one pass folds: half a second."""
OURS: Final = "usage_rollups"
"""Subject of sums, which belong to nobody: they are looked at together."""
SHOWN: Final = 50
_SUMS: Final = ("subjects", "used", "reserved")
_KEY: Final = ("plan", "action", "period_start", "period_end", "band")


async def fold(conn: asyncpg.Connection) -> int:
    """One pass; the caller owns the transaction. How many rows it folded: 0 also while another one is under way."""
    if not await conn.fetchval(QUERIES["try_folding_usage"]):
        return 0
    number: int = await conn.fetchval(QUERIES["fold_usage_changes"], ROWS)
    if number:
        await conn.execute(QUERIES["drop_empty_usage_rollups"])
    return number


class Rollups(OfNobody):
    """`usage_rollups`, as one row of everything that differs from the counters."""

    name = "usage_rollups"

    async def page(self, conn: asyncpg.Connection, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """One."""
        return [] if after else [("all", OURS)]

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """What should differ: nothing."""
        return {"all": []}

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """What does."""
        return {"all": await conn.fetch(QUERIES["wrong_usage_rollups"])}

    def differences(
        self, kept: Any, rebuilt: Sequence[Mapping[str, Any]] | None, now: datetime
    ) -> Sequence[Difference]:
        """Sum by sum, some of them."""
        pairs = [
            (" ".join([name, *(str(row[part]) for part in _KEY)]), row[f"{name}_kept"], row[name])
            for row in rebuilt or ()
            for name in _SUMS
            if row[f"{name}_kept"] != row[name]
        ]
        more = len(pairs) - SHOWN
        return [*pairs[:SHOWN], ("(and more)", more, more)] if more > 0 else pairs

    async def save(self, conn: asyncpg.Connection, rows: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        """Add what is missing: whatever was written since they were compared changed both sides alike."""
        for wrong in rows:
            mended = [[row[part] for part in _KEY] + [row[n] - row[f"{n}_kept"] for n in _SUMS] for row in wrong]
            await conn.execute(QUERIES["mend_usage_rollups"], *map(list, zip(*mended, strict=True)))

    async def delete(self, conn: asyncpg.Connection, keys: Sequence[str]) -> None:
        """Nothing to do: there is one row, which is always rebuilt."""
