"""Follow-up actions: from the outbox back into the log, behind the commit; a sweep takes what a dead process left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Final

import asyncpg
import msgspec
from redis.exceptions import RedisError

from db import log, stream
from db.appending import Log, Unavailable
from jobs.action import Action
from jobs.effects.outbox import QUERIES

logger = log.get("follow_ups")

SWEEP_SECONDS: Final = 2.0
LEFT_SECONDS: Final = 2.0
"""Longer than an append takes: what is older was left behind."""
CHUNK: Final = 5000
_encode: Final = msgspec.msgpack.Encoder().encode


class FollowUps:
    """One worker process's way back into the log. An append that happens twice counts once, by its ids."""

    def __init__(self, pool: asyncpg.Pool, journal: Log) -> None:
        self.pool, self.journal = pool, journal
        self._sending: set[asyncio.Task[None]] = set()

    def put(self, actions: Sequence[Action]) -> None:
        """Send these; the drain does not wait for it."""
        task = asyncio.create_task(self._send(actions), name="follow-ups")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS * random.uniform(0.5, 1.5))
            try:
                while await self.sweep() == CHUNK:
                    pass
            except (asyncpg.PostgresError, asyncpg.InterfaceError, RedisError, Unavailable, OSError) as error:
                logger.warning("follow-ups wait", error=str(error) or type(error).__name__)
            except Exception:
                logger.exception("the sweep of follow-ups met a fault of its own; trying again")

    async def sweep(self) -> int:
        """Append what was left behind; how many. Dying before the commit leaves them to the next sweep."""
        async with self.pool.acquire() as conn, conn.transaction():
            rows = await conn.fetch(QUERIES["lock_follow_ups"], LEFT_SECONDS, CHUNK)
            if rows:
                await self._append([(row["subject"], row["body"]) for row in rows])
                await _delete(conn, [(row["subject"], row["id"]) for row in rows])
        return len(rows)

    async def _send(self, actions: Sequence[Action]) -> None:
        try:
            await self._append([(one.subject, _encode(one)) for one in actions])
            async with self.pool.acquire() as conn:
                await _delete(conn, [(one.subject, one.id) for one in actions])
        except (asyncpg.PostgresError, asyncpg.InterfaceError, RedisError, Unavailable, OSError) as error:
            logger.warning("follow-ups are left to the sweep", number=len(actions), error=str(error))
        except Exception:
            logger.exception("sending follow-ups met a fault of its own; they are left to the sweep")

    async def _append(self, records: Sequence[tuple[str, bytes]]) -> None:
        partitions = self.journal.partitions
        await self.journal.append([(stream.partition_of(subject, partitions), body) for subject, body in records])


async def _delete(conn: asyncpg.Connection, keys: Sequence[tuple[str, str]]) -> None:
    await conn.execute(QUERIES["delete_follow_ups"], [subject for subject, _ in keys], [one for _, one in keys])
