"""What is known of a subject's usage: its read model, asked by pure functions with the time of the request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeVar

import asyncpg
import msgspec

from api import reads
from api.state import State
from jobs.usage import view
from jobs.usage.model import Model

T = TypeVar("T")
_NOTHING: Final = msgspec.json.encode(view.EMPTY)
"""Kept, too: else everybody who has used nothing yet would cost a query each time."""


async def ask(state: State, subject: str, question: Callable[[Model, datetime], T]) -> T:
    """The answer of the cached model; when that is too old to know, of Postgres."""
    now = state.clock.now()

    async def load(conn: asyncpg.Connection) -> bytes:
        return await view.load(conn, subject, now) or _NOTHING

    body = await reads.model(state, subject, view.name(subject), load)
    try:
        return question(view.decode(body), now)
    except view.Stale:
        async with state.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            return question(view.decode(await load(conn)), now)
