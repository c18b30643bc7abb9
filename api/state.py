"""What the handlers of one API process share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import asyncpg
from aiohttp import web
from redis.asyncio import Redis

from api.auth.senders import Auth
from api.clock import Clock
from api.pace import SHEDDABLE, Pace
from api.rates import Rates
from api.waiting import Waiting
from db.appending import Log
from db.settings import Settings
from db.wire import Shared
from jobs.catalog import Catalog, default
from jobs.usage.plans import Plans


@dataclass(slots=True)
class State:
    """One per process, made at its start."""

    settings: Settings
    redis: Redis
    pool: asyncpg.Pool
    log: Log
    shared: Shared
    auth: Auth
    rates: Rates
    waiting: Waiting
    clock: Clock
    pace: Pace
    replica: asyncpg.Pool | None = None
    """Answers of analytics, where READ_DATABASE_URL is set."""
    ready: bool = False
    """Redis and the count of partitions have been checked."""
    catalog: Catalog = field(default_factory=default)
    """What the product filled in; looked for anew twice a second."""
    plans: Plans = field(default_factory=lambda: Plans([], default()))
    """Every plan's versions in force, now or later; looked for anew twice a second."""
    off: frozenset[str] = frozenset()
    """Kinds that an operator has switched off; looked for anew twice a second."""

    @property
    def answering(self) -> asyncpg.Pool:
        """Where analytics reads."""
        return self.replica or self.pool

    @property
    def closed(self) -> frozenset[str]:
        """Kinds that are not taken now: those that are off, and while we are too slow those that may be shed."""
        return self.off | SHEDDABLE if self.pace.is_slow else self.off


STATE: Final = web.AppKey("state", State)
