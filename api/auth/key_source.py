"""Service keys from Redis, and from Postgres for what Redis does not know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import asyncpg
from aiohttp import hdrs
from redis.asyncio import Redis

from api.errors import POSTGRES_AWAY, REDIS_AWAY, Problem
from db import service_keys
from db.service_keys import Known

REREAD_SECONDS: Final = 300.0
"""After this, what Redis knows of a key is compared with Postgres, if Postgres is there."""
REDIS_SECONDS: Final = 1.0
POSTGRES_SECONDS: Final = 2.0
MOST_LOOK_UPS: Final = 100
"""Look-ups in Postgres a second: a flood of invented keys ends here, and keys that Redis knows are not in its way."""


class KeySource:
    """Where a process asks for keys that it does not know itself."""

    def __init__(self, client: Redis, pool: asyncpg.Pool, now: Callable[[], float] = time.monotonic) -> None:
        self.client, self.pool, self.now = client, pool, now
        self._second, self._look_ups = 0, 0

    async def find(self, hashed: str) -> Known | None:
        """The key with this hash; None when it does not exist or was revoked. Problem 503 when nobody can say."""
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                known, revoked = await service_keys.recall(self.client, hashed)
        except (*REDIS_AWAY, TimeoutError):
            return await self._from_postgres(hashed)
        if revoked:
            return None
        if known is not None and time.time() < known.at + REREAD_SECONDS:
            return known
        try:
            found = await self._from_postgres(hashed)
        except Problem:
            if known is None:
                raise
            return known
        await self._tell_redis(hashed, known, found)
        return found

    async def _from_postgres(self, hashed: str) -> Known | None:
        self._bound()
        try:
            async with asyncio.timeout(POSTGRES_SECONDS):
                row = await service_keys.find(self.pool, hashed)
        except (*POSTGRES_AWAY, asyncpg.InterfaceError) as error:
            raise Problem("keys_unavailable", "the key cannot be checked at the moment") from error
        return None if row is None else Known(str(row["id"]), row["name"], tuple(row["scopes"]), time.time())

    def _bound(self) -> None:
        second = int(self.now())
        if second != self._second:
            self._second, self._look_ups = second, 0
        self._look_ups += 1
        if self._look_ups > MOST_LOOK_UPS:
            raise Problem("keys_unavailable", "too many unknown keys at the moment", headers={hdrs.RETRY_AFTER: "1"})

    async def _tell_redis(self, hashed: str, known: Known | None, found: Known | None) -> None:
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                if found is not None:
                    await service_keys.remember(self.client, hashed, found)
                elif known is not None:
                    await service_keys.forget(self.client, [hashed])
        except (*REDIS_AWAY, TimeoutError):
            return  # the next process that asks tells it
