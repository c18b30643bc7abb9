"""What operators change at run time, as one API process knows it: catalog, plans, and the kinds that are switched off.

Redis tells within half a second; Postgres is asked when Redis has lost it, and now and then in case it was not told.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import asyncpg
import msgspec
from redis.exceptions import RedisError

from api.state import State
from api.usage import in_force
from db import ending, flags, keys, log, stored_catalog
from db.flags import Flags
from jobs import catalog as catalogs
from jobs.families import FAMILIES
from jobs.usage import plans
from jobs.usage.plans import Plans, Version

logger = log.get("governing")
_warn = log.Seldom(logger, seconds=60)
LOOK_SECONDS: Final = 0.5
TRUTH_SECONDS: Final = 30.0
"""How often Redis is put right by what Postgres has."""

_flags: Final = msgspec.json.Decoder(dict[str, bool])
_stored: Final = msgspec.json.Decoder(tuple[str, str] | None)


def names() -> list[str]:
    """What can be switched: every family, and every group of families."""
    return sorted({family.name for family in FAMILIES} | {family.group for family in FAMILIES})


def kinds_off(known: Flags) -> frozenset[str]:
    """The kinds of the families that are off, by their own name or by their group's."""
    off = {name for name, enabled in known.items() if not enabled}
    return frozenset(kind.name for family in FAMILIES if off & {family.name, family.group} for kind in family.kinds)


FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, RedisError, OSError, TimeoutError)


class Governing:
    """Keeps these three of `state` as they should be; a look that finds nothing new is one trip to Redis."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._seen: list[bytes | None] = [None, None, None]
        self._versions: list[Version] = []
        self._truth_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """The first look. Without Redis it asks Postgres; without either, all is on and the catalog as shipped."""
        try:
            await self.look()
        except FAILURES:
            await self._ask()
        self._task = asyncio.create_task(self._run(), name="governing")

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            await ending.ended(self._task)

    async def look(self) -> None:
        """Raises what Redis and Postgres raise; what was known stays."""
        state, now = self.state, time.monotonic()
        held = await self._held()
        if None in held or now >= self._truth_at + TRUTH_SECONDS:
            await stored_catalog.publish(state.pool, state.redis)
            await flags.publish(state.pool, state.redis)
            await in_force.publish(state.pool, state.redis)
            self._truth_at = now
            held = await self._held()
        is_another = self._seen[0] not in {None, held[0]}
        if held != self._seen:
            self._take(*held)
            self._seen = held
        if is_another:  # it may have brought other plans
            await in_force.publish(state.pool, state.redis)

    async def _held(self) -> list[bytes | None]:
        found: list[bytes | None] = await self.state.redis.mget(keys.CATALOG, keys.FLAGS, keys.PLANS)
        return found

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except FAILURES as error:
                _warn("catalog, plans and flags stay as they are", error=str(error) or type(error).__name__)
            except Exception:
                logger.exception("the look at catalog, plans and flags met a fault of its own; trying again")

    async def _ask(self) -> None:
        pool = self.state.pool
        try:
            row, known, versions = await stored_catalog.read(pool), await flags.read(pool), await in_force.read(pool)
        except FAILURES as error:
            _warn("catalog, plans and flags are not known yet", error=str(error) or type(error).__name__)
            return
        self._take(msgspec.json.encode(row), msgspec.json.encode(known), plans.encode(versions))

    def _take(self, stored: bytes | None, switched: bytes | None, versions: bytes | None) -> None:
        """A key that Redis lost just now counts as nothing known of it."""
        if switched is not None:
            self.state.off = kinds_off(_flags.decode(switched))
        if stored is not None:
            self._take_catalog(stored)
        if versions is not None:
            self._take_plans(versions)
        self.state.plans = Plans(self._versions, self.state.catalog)

    def _take_plans(self, versions: bytes) -> None:
        try:
            self._versions = plans.decode(versions)
        except msgspec.ValidationError as error:
            _warn("the stored plans are not of this version: the last ones stay", reason=str(error))

    def _take_catalog(self, stored: bytes) -> None:
        row = _stored.decode(stored)
        try:
            self.state.catalog = catalogs.default() if row is None else catalogs.take(*row)
        except catalogs.Wrong as error:
            _warn("the stored catalog is not one of this version: the last one stays", reason=str(error))
