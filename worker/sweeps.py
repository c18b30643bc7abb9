"""What keeps the outbox going whatever dies: hand over what is due, stop what has no destination, drop what is old."""

from __future__ import annotations

from typing import Final

import msgspec

from db import keys, sql
from jobs.effects import deliveries
from jobs.effects import effect as effects
from worker import outbox
from worker.context import Context

QUERIES: Final = sql.read("deliveries")
ROWS: Final = 500
ROUNDS: Final = 20
AGAIN_SECONDS: Final = 30.0
"""After which what was handed over, and is still due, is looked at again: it may have lost its job."""


async def sweep_deliveries(ctx: Context) -> str:
    """Hand over what is due and has no job: after a crash, for the next try, when Redis lost its jobs."""
    handed = 0
    for _ in range(ROUNDS):
        rows = await ctx["pool"].fetch(QUERIES["sweep_deliveries"], ROWS, AGAIN_SECONDS)
        # Each further try is due at a time of its own, and so a job of its own.
        ready = [(row["id"], f"{row['due_at'].timestamp()}") for row in rows if row["ready"] and not row["unclaimed"]]
        if unclaimed := [row["id"] for row in rows if row["ready"] and row["unclaimed"]]:
            ready += await outbox.named(ctx["redis"], unclaimed)
        if ready:
            handed += await outbox.enqueue(ctx["redis"], ready)
        if len(rows) < ROWS:
            break
    return f"{handed} handed over"


async def settle_deliveries(ctx: Context) -> str:
    """Discard what has no destination any more; give up what waited for longer than all tries take."""
    pool, given_up = ctx["pool"], (deliveries.GIVE_UP_SECONDS, deliveries.GAVE_UP)
    stopped = await pool.fetch(QUERIES["stop_deliveries"], ROWS * ROUNDS)
    dead = await pool.fetch(QUERIES["give_up_deliveries"], *given_up, ROWS * ROUNDS)
    return f"{len(stopped)} discarded, {len(dead)} given up"


async def count_deliveries(ctx: Context) -> str:
    """Tell the API processes for their metrics what waits and what is dead."""
    rows = await ctx["pool"].fetch(QUERIES["count_deliveries"])
    found = [[row["sort"], row["status"], row["number"], row["oldest_seconds"]] for row in rows]
    await ctx["log"].set(keys.DELIVERIES, msgspec.json.encode(found), ex=120)
    return f"{sum(row['number'] for row in rows)} counted"


async def drop_effects(ctx: Context) -> str:
    """Retention: what was delivered or discarded goes after EFFECT_RETENTION_DAYS; the dead wait for somebody."""
    dropped, number = 0, ROWS
    while number == ROWS:
        number = len(
            await ctx["pool"].fetch(effects.QUERIES["drop_effects"], ctx["settings"].effect_retention_days, ROWS)
        )
        dropped += number
    return f"{dropped} dropped"
