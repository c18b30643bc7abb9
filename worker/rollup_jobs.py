"""What the schedule does for analytics: rollups from what changed, and what they need no more."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

from jobs.analytics import rolling
from worker.context import Context

RUN_SECONDS: Final = 5.0
"""How long one run goes on: the rest is left to the next one."""
RESTS: Final = 3.0
"""How many times as long as a run the process rests after it: a busy drain keeps the larger part of the time, and what
changed many times meanwhile is reckoned once."""
_rest_until = 0.0


async def roll_up(ctx: Context) -> str:
    """Move what changed into the rollups, a transaction for each pass."""
    global _rest_until  # noqa: PLW0603 - one for each process, as is the time that it takes
    began = time.monotonic()
    if began < _rest_until:
        return "resting"
    sessions = 0
    while time.monotonic() < began + RUN_SECONDS:
        async with ctx["pool"].acquire() as conn, conn.transaction():
            done = await rolling.roll(conn, datetime.now(UTC))
        sessions += done.sessions
        if done.is_done:
            break
    ended = time.monotonic()
    _rest_until = ended + RESTS * (ended - began)
    return f"{sessions} sessions"


async def tidy_rollups(ctx: Context) -> str:
    """Forget fine grains that are too old, and reckon changed funnels anew."""
    async with ctx["pool"].acquire() as conn, conn.transaction():
        now = datetime.now(UTC)
        await rolling.prune(conn, now)
        noted = await rolling.follow_funnels(conn, now)
    return f"{noted} sessions to look at again"
