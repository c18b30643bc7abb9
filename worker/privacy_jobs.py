"""Erasures: what an operator ordered over HTTP, or a command left half done."""

from __future__ import annotations

from typing import Final

import asyncpg
from redis.exceptions import RedisError

from db import log
from jobs import rebuild
from jobs.privacy import orders
from jobs.privacy.erasure import Unreadable
from worker.context import Context

logger = log.get("privacy")
PASSING: Final = (
    *(orders.Lost, rebuild.Busy, Unreadable),
    *(asyncpg.PostgresError, asyncpg.InterfaceError, RedisError, OSError),
)
"""What another try may find mended."""
ERASE_SECONDS: Final = 3600
"""For one run; what takes longer is gone on with by the next."""


async def erase_people(ctx: Context) -> str:
    """Carry out what is ordered and nobody works on, the oldest first."""
    done = failed = 0
    while (held := await _claim(ctx)) is not None:
        try:
            await orders.carry_out(ctx["settings"], ctx["log"], held)
        except PASSING as error:
            # Not its words: those of Postgres may name a row.
            logger.warning("an erasure goes on later", id=str(held.id), error=type(error).__name__)
            failed += 1
        else:
            logger.info("erased", id=str(held.id))
            done += 1
    return f"{done} erased" + (f", {failed} to go on with" if failed else "")


async def _claim(ctx: Context) -> orders.Held | None:
    async with ctx["pool"].acquire() as conn:
        return await orders.claim(conn)
