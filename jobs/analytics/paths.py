"""The most frequent steps from one category or page to another.

A product has a few pairs of them, the pages of a shop may have any number: of each day or week the most frequent are
read, so that an answer takes the same time. What it tells is exact; it may miss a step that was frequent on no day, and
says how frequent that can have been.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg

from jobs.analytics import answers, cells
from jobs.analytics.answers import QUERIES, Answer, Span, measured, share
from jobs.analytics.counted import END, START

READ: Final = 500
"""Pairs that are read of each hour, day or week: what a product without pages of their own has."""
PROBED: Final = 2
"""Times as many as are asked for are counted exactly, when some pairs were not read."""


async def read(conn: asyncpg.Connection, wanted: Span, limit: int, *, bots: bool = False, most: int = READ) -> Answer:
    """The most frequent steps; `share` of all that left the same one; `most`: pairs that are read of each start.

    `missedAtMost`: a step that is not told may have been taken so many times more than the last that is; 0: all is
    exact.
    """
    cover, measures = wanted.cover(), measured(["next"], bots=bots)
    rows = await conn.fetch(QUERIES["most_paths"], *cover, measures, most, PROBED * limit)
    missed = rows[0]["missed"] if rows else 0
    counts = {row["key"]: row["n"] for row in rows}
    if missed:
        counts = await _counts(conn, cover, measures, list(counts))
    steps = [(*_names(key), n) for key, n in counts.items()]
    steps = sorted(steps, key=lambda one: (-one[2], one[0] or "", one[1] or ""))[:limit]
    left = sorted({cells.several(before) for before, _, _ in steps})
    leaving = await _counts(conn, cover, measured(["left"], bots=bots), left)
    return {
        **answers.told(wanted),
        "bots": 0 if bots else await answers.bot_sessions(conn, wanted),
        "missedAtMost": missed,
        "steps": [
            {
                "from": START if before is None else before,
                "to": END if after is None else after,
                "times": n,
                "share": share(n, leaving[cells.several(before)]),
            }
            for before, after, n in steps
        ],
    }


async def _counts(
    conn: asyncpg.Connection, cover: tuple[list[str], list[datetime]], measures: Sequence[str], keys: Sequence[str]
) -> dict[str, int]:
    """Of all of these keys, exactly."""
    return dict(await conn.fetch(QUERIES["counts_of"], *cover, measures, keys))


def _names(key: str) -> tuple[str | None, str | None]:
    before, after = (None if part is None else str(part) for part in cells.parts(key))
    return before, after
