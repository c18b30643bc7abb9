"""What the schedule does for analytics: rollups from what changed, and what they need no more."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

from jobs.analytics import rolling
from worker.context import Context

RUN_SECONDS: Final = 20.0
"""How long one run goes on: the rest is left to the next one."""


async def roll_up(ctx: Context) -> str:
    """Move what changed into the rollups, a transaction for each pass."""
    sessions, until = 0, time.monotonic() + RUN_SECONDS
    while time.monotonic() < until:
        async with ctx["pool"].acquire() as conn, conn.transaction():
            done = await rolling.roll(conn, datetime.now(UTC))
        sessions += done.sessions
        if done.is_done:
            break
    return f"{sessions} sessions"


async def tidy_rollups(ctx: Context) -> str:
    """Forget fine grains that are too old, and reckon changed funnels anew."""
    async with ctx["pool"].acquire() as conn, conn.transaction():
        now = datetime.now(UTC)
        await rolling.prune(conn, now)
        noted = await rolling.follow_funnels(conn, now)
    return f"{noted} sessions to look at again"
