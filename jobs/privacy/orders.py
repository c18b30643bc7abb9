"""Orders to erase somebody, and who carries them out: one worker or command at a time, also when one dies on the way.

Who works on an order holds a lease and moves it ahead. When it is not moved any more, another one goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple
from uuid import UUID, uuid4

import asyncpg
from redis.asyncio import Redis

from db import connect
from db.settings import Settings
from jobs import rebuild
from jobs.privacy.erasure import Erasure, Moved, Unreadable
from jobs.privacy.tombstones import QUERIES

LEASE_SECONDS: Final = 30.0
RENEW_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 30.0
"""Between a failure and the next try of a worker."""


class Lost(Exception):
    """Somebody else holds the order: this one was away for too long."""


class Held(NamedTuple):
    """An order that is this one's to carry out."""

    id: UUID
    user_id: str
    holder: UUID


async def claim(conn: asyncpg.Connection, erasure: UUID | None = None) -> Held | None:
    """The oldest order that nobody works on, or this one; None when there is none, or somebody does."""
    holder = uuid4()
    row = await conn.fetchrow(QUERIES["claim_erasure"], erasure, holder, LEASE_SECONDS)
    return None if row is None else Held(row["id"], row["user_id"], holder)


async def carry_out(settings: Settings, client: Redis, held: Held, moved: Moved = lambda _: None) -> None:
    """Erase, on connections of its own; the lease ends with it.

    Raises Lost, rebuild.Busy, Unreadable, and what Postgres raises.
    """
    said = [""]

    def note(words: str) -> None:
        said[0] = words
        moved(words)

    async with _connected(settings) as conn, _connected(settings) as other:
        work = Erasure(conn, client, held.user_id, settings.dedupe_days, note)
        running = asyncio.create_task(work.run(held.id), name="erasure")
        keeping = asyncio.create_task(_keep(other, held, lambda: said[0], running), name="lease")
        try:
            await running
        except asyncio.CancelledError:
            if keeping.done():
                raise Lost from None
            raise
        except (rebuild.Busy, Unreadable) as error:
            await _end(keeping)
            await _release(other, held, str(error))
            raise
        except Exception as error:
            # Not its words: those of Postgres may name a row.
            await _end(keeping)
            await _release(other, held, type(error).__name__)
            raise
        finally:
            running.cancel()
            await asyncio.shield(_end(keeping))
            await asyncio.shield(_release(other, held, None))


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    conn = await connect.postgres(settings.database_url, "milepost-erase")
    try:
        yield conn
    finally:
        conn.terminate()


async def _keep(conn: asyncpg.Connection, held: Held, said: Callable[[], str], running: asyncio.Task[UUID]) -> None:
    """Move the lease ahead; without it the work ends, since another one may have begun."""
    try:
        while await conn.fetchval(QUERIES["renew_erasure"], held.id, held.holder, LEASE_SECONDS, said()):  # noqa: ASYNC110
            await asyncio.sleep(RENEW_SECONDS)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        pass  # as if it were lost: whoever cannot say that he lives must not work
    running.cancel()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _release(conn: asyncpg.Connection, held: Held, failure: str | None) -> None:
    """Nothing happens where the order is done, or another one's. When Postgres is away, the lease ends by itself."""
    with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        pause = 0.0 if failure is None else PAUSE_SECONDS
        await conn.execute(QUERIES["release_erasure"], held.id, held.holder, failure, pause)
