"""What the schedule does for the onboarding: the days that its overview adds up."""

from __future__ import annotations

import time
from typing import Final

from jobs.onboarding import days
from worker.context import Context

RUN_SECONDS: Final = 10.0
"""How long one run goes on: the rest is left to the next one."""


async def count_onboarding(ctx: Context) -> str:
    """Count the days anew whose users changed, a transaction for each pass."""
    number, is_done, began = 0, False, time.monotonic()
    while not is_done and time.monotonic() < began + RUN_SECONDS:
        async with ctx["pool"].acquire() as conn, conn.transaction():
            done = await days.count(conn)
        number, is_done = number + done.days, done.is_done
    return f"{number} days"
