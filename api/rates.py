"""Rate limits by key or user, in Redis: a sliding window counter. While Redis is away, nobody is limited."""

from __future__ import annotations

import hashlib
import math
from typing import Any, Final, Literal, NamedTuple

from aiohttp import hdrs
from redis.exceptions import NoScriptError

from api.errors import REDIS_AWAY, Problem
from db import keys, log
from db.settings import RATE, Settings
from db.wire import Shared
from jobs.action import Sender

Rule = Literal["ingest", "read", "update", "usage"]

_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_warn = log.Seldom(log.get("rates"), seconds=60)

# The window before counts for the part of it that still lies less than a window back. A window begins with the first
# request in it, and who is refused is not counted. Redis's own clock, since those of several hosts differ. A count is
# not worth a sync of the append-only file, which would hold up the reads in the same packet: it stays in memory alone.
_COUNT: Final = b"""
redis.set_repl(redis.REPL_NONE)
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local begun, before, count = now, 0, 0
local held = redis.call('GET', KEYS[1])
if held then
    local b, p, c = string.match(held, '^(%d+) (%d+) (%d+)$')
    begun, before, count = tonumber(b), tonumber(p), tonumber(c)
    if now >= begun + 2 * window or now < begun then
        begun, before, count = now, 0, 0
    elseif now >= begun + window then
        begun, before, count = begun + window, count, 0
    end
end
local left = begun + window - now
local used = math.floor(before * left / window) + count
local allowed = used < limit
if allowed then
    count, used = count + 1, used + 1
    redis.call('SET', KEYS[1], string.format('%.0f %d %d', begun, before, count), 'PX', left + window)
end
return {allowed and 1 or 0, used, before, count, left}
"""
_SHA: Final = hashlib.sha1(_COUNT, usedforsecurity=False).hexdigest()


class Rate(NamedTuple):
    """So many requests in so many seconds."""

    text: str
    amount: int
    seconds: int


def parse(text: str) -> Rate:
    """A rate as the settings have it: `100/minute`, `6000 per 5 minutes`."""
    found = RATE.fullmatch(text)
    if found is None or not text:
        raise ValueError("a rate looks like 100/minute or 6000 per 5 minutes")
    return Rate(text, int(found["amount"]), int(found["number"] or 1) * _SECONDS[found["unit"]])


class Rates:
    """The limits of the settings; a rule that is empty costs nothing."""

    def __init__(self, settings: Settings, shared: Shared) -> None:
        given: dict[Rule, str] = {
            "ingest": settings.rate_limit_ingest,
            "read": settings.rate_limit_read,
            "update": settings.rate_limit_update,
            "usage": settings.rate_limit_usage,
        }
        self.rules = {name: parse(text) for name, text in given.items() if text}
        self._shared = shared

    async def check(self, sender: Sender, rule: Rule, subject: str = "") -> dict[str, str]:
        """Count one request. The `RateLimit-*` headers of its answer; Problem 429 with Retry-After over the limit.

        A service that acts for many users is counted for each `subject` by itself.
        """
        rate = self.rules.get(rule)
        if rate is None:
            return {}
        who = sender.name if sender.role == "user" else f"{sender.name}/{subject}"
        try:
            allowed, used, before, count, left = await self._count(rule, rate, who)
        except REDIS_AWAY as error:
            _warn("nobody is limited: Redis is away", error=str(error) or type(error).__name__)
            return {}
        seconds = _reset(rate, before, count, left)
        headers = {
            "RateLimit-Limit": str(rate.amount),
            "RateLimit-Remaining": str(max(0, rate.amount - used)),
            "RateLimit-Reset": str(seconds),
        }
        if not allowed:
            raise Problem(
                "rate_limited",
                f"more than {rate.text}: try again in {seconds} s",
                details={"limit": rate.amount, "retryAfter": seconds},
                headers={**headers, hdrs.RETRY_AFTER: str(seconds)},
            )
        return headers

    async def _count(self, rule: Rule, rate: Rate, who: str) -> Any:
        given = (1, f"{keys.RATES}:{{{rule}/{rate.amount}/{rate.seconds}/{who}}}", rate.amount, rate.seconds * 1000)
        try:
            return await self._shared.ask(("EVALSHA", _SHA, *given))
        except NoScriptError:  # Redis has been started anew
            return await self._shared.ask(("EVAL", _COUNT, *given))


def _reset(rate: Rate, before: int, count: int, left: int) -> int:
    """Seconds until there is room for one more: when this window ends, or one of the last no longer counts."""
    soonest: float = left if count else math.inf
    if before:
        soonest = min(soonest, left % (rate.seconds * 1000 / before))
    return max(1, math.ceil(soonest / 1000))
