"""Sessions that cannot be reckoned are put aside, so that the others go on: what an operator sees, and what is retried.

What such a session was counted for stays as it was, and its next try adds the difference, so that nothing counts twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import asyncpg
import msgspec

from jobs.analytics.counting import QUERIES

FAULTS: Final = (
    *(asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError),
    *(msgspec.MsgspecError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError),
)
"""What lies in a session and comes again with it; anything else is a fault of the servers, and the pass is repeated."""
FIRST, LONGEST = timedelta(minutes=1), timedelta(hours=1)
"""Between tries: each wait is twice the one before."""


class Fault(NamedTuple):
    """A session that could not be reckoned, and why."""

    session_id: str
    error: Exception


Work = Callable[[Sequence[str]], Awaitable[None]]


async def isolated(conn: asyncpg.Connection, ids: Sequence[str], work: Work) -> list[Fault]:
    """Do the work for all of these but those whose part of it fails; a fault costs log2(n) savepoints."""
    try:
        async with conn.transaction():
            await work(ids)
    except FAULTS as error:
        if len(ids) == 1:
            return [Fault(ids[0], error)]
        middle = len(ids) // 2
        return [*await isolated(conn, ids[:middle], work), *await isolated(conn, ids[middle:], work)]
    return []


async def known(conn: asyncpg.Connection, ids: Sequence[str]) -> dict[str, int]:
    """Those of them that are there and put aside, and how often they were tried."""
    return {row["session_id"]: row["tries"] for row in await conn.fetch(QUERIES["load_aside"], ids)}


async def put(conn: asyncpg.Connection, faults: Sequence[Fault], tries: dict[str, int], now: datetime) -> None:
    """Remember them, and note each again for later. The reason is the name of the error: its text may name people."""
    for fault in faults:
        tried = tries.get(fault.session_id, 0) + 1
        due = now + min(LONGEST, FIRST * 2 ** min(tried - 1, 10))
        reason = type(fault.error).__name__
        await conn.execute(QUERIES["put_aside"], fault.session_id, reason, tried, now, due)
        await conn.execute(QUERIES["defer_changes"], [fault.session_id], due)


async def forget(conn: asyncpg.Connection, ids: Sequence[str]) -> None:
    """They were reckoned, or are not there any more: nothing waits for them."""
    gone = [row["session_id"] for row in await conn.fetch(QUERIES["forget_aside"], ids)]
    if gone:
        await conn.execute(QUERIES["forget_tries"], gone)
