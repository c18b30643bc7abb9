"""The numbers of a fill, written as a pass writes them, some at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

import asyncpg

from jobs.analytics import cells, recounting
from jobs.analytics.recounting import Sums

AT_ONCE: Final = 20_000

Moved = Callable[[int, str], None]
"""How many sessions are there, -1: as many as before; and a few words."""


async def save(conn: asyncpg.Connection, sums: Sums, now: datetime, moved: Moved) -> None:
    """In the order of time, so that the row of a day is made anew a few times only."""
    kept = (cell for cell in sums.counts if cells.is_kept(cell, now.timestamp()))
    ordered = sorted(kept, key=lambda cell: (cell.start, cell))
    for first in range(0, len(ordered), AT_ONCE):
        some = {cell: sums.counts[cell] for cell in ordered[first : first + AT_ONCE]}
        async with conn.transaction():
            await recounting.save(conn, Sums(some, sums.most), now)
        moved(-1, f"{first:,} of {len(ordered):,} numbers")
