"""Rate limits by key or user, in Redis: a sliding window counter. While Redis is away, nobody is limited."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any, Final, Literal

import limits
from aiohttp import hdrs
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import Redis

from api.errors import REDIS_AWAY, Problem
from db import connect, keys, log
from db.settings import Settings
from jobs.action import Sender

Rule = Literal["ingest", "read", "update", "usage"]

TIMEOUT: Final = 1.0
CONNECTIONS: Final = 16
"""At most so many checks are under way at once; the others wait, instead of failing open for want of a connection."""
_warn = log.Seldom(log.get("rates"), seconds=60)


class Rates:
    """The limits of the settings; a rule that is empty costs nothing."""

    def __init__(self, settings: Settings, client: Redis | None = None) -> None:
        """`client`: a Redis of its own is opened without one. ValueError names a setting that cannot be read."""
        self.client = client or connect.redis(settings.log_url, timeout=TIMEOUT, connections=CONNECTIONS)
        self._owned = client is None
        given: dict[Rule, str] = {
            "ingest": settings.rate_limit_ingest,
            "read": settings.rate_limit_read,
            "update": settings.rate_limit_update,
            "usage": settings.rate_limit_usage,
        }
        self.rules = {name: limits.parse(text) for name, text in given.items() if text}
        pool: Any = self.client.connection_pool  # with its password, TLS and time-outs
        storage = RedisStorage("redis://", implementation="redispy", key_prefix=keys.RATES, connection_pool=pool)
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._free = asyncio.Semaphore(CONNECTIONS)

    async def check(self, sender: Sender, rule: Rule, subject: str = "") -> dict[str, str]:
        """Count one request. The `RateLimit-*` headers of its answer; Problem 429 with Retry-After over the limit.

        A service that acts for many users is counted for each `subject` by itself.
        """
        who = sender.name if sender.role == "user" else f"{sender.name}/{subject}"
        limit = self.rules.get(rule)
        if limit is None:
            return {}
        try:
            async with self._free, asyncio.timeout(TIMEOUT):
                allowed = await self._limiter.hit(limit, rule, who)
                window = await self._limiter.get_window_stats(limit, rule, who)
        except (*REDIS_AWAY, TimeoutError) as error:
            _warn("nobody is limited: Redis is away", error=str(error) or type(error).__name__)
            return {}
        seconds = max(1, math.ceil(window.reset_time - time.time()))
        headers = {
            "RateLimit-Limit": str(limit.amount),
            "RateLimit-Remaining": str(window.remaining if allowed else 0),
            "RateLimit-Reset": str(seconds),
        }
        if not allowed:
            raise Problem(
                "rate_limited",
                f"more than {limit}: try again in {seconds} s",
                details={"limit": limit.amount, "retryAfter": seconds},
                headers={**headers, hdrs.RETRY_AFTER: str(seconds)},
            )
        return headers

    async def close(self) -> None:
        """Close the connections that were opened here."""
        if self._owned:
            await self.client.aclose()
