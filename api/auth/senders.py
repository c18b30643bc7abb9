"""Who sends: service keys and user tokens. A known Authorization header costs one look into a dict."""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
import time
from dataclasses import dataclass
from typing import Final

import asyncpg
from aiohttp import hdrs, web
from redis.asyncio import Redis

from api.auth.jwt_tokens import Tokens
from api.auth.key_source import KeySource
from api.errors import Problem, unauthorized
from db import log, service_keys
from db.service_keys import Known
from db.settings import Settings
from jobs.action import Sender

MOST_BELIEVED: Final = 10_000
MOST_DENIED: Final = 10_000
DENIED_SECONDS: Final = 1.0
TOKEN_SECONDS: Final = 60.0
STALE_SECONDS: Final = 3600.0
"""How long a key is believed on while neither Redis nor Postgres can be asked."""

_warn = log.Seldom(log.get("auth"), seconds=60)


@dataclass(frozen=True, slots=True)
class _Believed:
    sender: Sender
    until: float
    learned: float


class Auth:
    """One API process's memory of who is behind which Authorization header. Times are of the monotonic clock."""

    def __init__(self, settings: Settings, client: Redis, pool: asyncpg.Pool) -> None:
        self.settings = settings
        self.source = KeySource(client, pool)
        self.tokens = Tokens(settings)
        self._believed: dict[str, _Believed] = {}
        self._denied: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[Sender]] = {}

    async def sender(self, request: web.Request, scope: str | None = None) -> Sender:
        """Who sends this request, with `scope` if one is named. Raises Problem: 401, 403, or 503 when nobody knows."""
        header = request.headers.get(hdrs.AUTHORIZATION)
        sender = await self._public(request) if header is None else await self._of_header(header)
        if scope is not None:
            require(sender, scope)
        return sender

    def believed(self, request: web.Request, scope: str, now: float) -> Sender | None:
        """Who sends, when that is known and may do it: no coroutine for what nearly every request is."""
        known = self._believed.get(request.headers.get(hdrs.AUTHORIZATION, ""))
        if known is not None and known.until > now and scope in known.sender.scopes:
            return known.sender
        return None

    async def standing(self, header: str) -> tuple[Sender, float]:
        """Who is behind an Authorization header, and until when: unix seconds, endless for a service key."""
        sender = await self._of_header(header)
        if sender.user_id is None:
            return sender, math.inf
        return sender, (await self.tokens.verify(_credential(header)))[1]

    async def close(self) -> None:
        """End what is still being asked."""
        for task in (tasks := list(self._asking.values())):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.tokens.jwks is not None:
            await self.tokens.jwks.close()

    async def _of_header(self, header: str) -> Sender:
        believed = self._believed.get(header)
        if believed is not None and believed.until > time.monotonic():
            return believed.sender
        return await self._ask(header)

    async def _public(self, request: web.Request) -> Sender:
        """A beacon of a browser can send no header: a key that may do nothing but ingest may stand in the address."""
        key = request.query.get("key")
        if key is None:
            raise unauthorized("unauthorized", "send Authorization: Bearer with a service key or a user token")
        if not service_keys.is_key(key):
            raise _unknown()
        sender = await self._of_header(f"Bearer {key}")
        if sender.scopes != {"ingest"}:
            raise unauthorized("invalid_key", "only a key with the scope ingest alone may stand in an address")
        return sender

    async def _ask(self, header: str) -> Sender:
        """Find out, once for all requests that carry this header at the moment."""
        if self._denied.get(header, 0.0) > time.monotonic():
            raise _unknown()
        task = self._asking.get(header)
        if task is None:
            task = self._asking[header] = asyncio.create_task(self._find_out(header), name="auth")
            task.add_done_callback(lambda done: self._asked(header, done))
        return await asyncio.shield(task)

    def _asked(self, header: str, task: asyncio.Task[Sender]) -> None:
        self._asking.pop(header, None)
        if not task.cancelled():
            task.exception()  # whoever asked may be gone

    async def _find_out(self, header: str) -> Sender:
        credential = _credential(header)
        if service_keys.is_key(credential):
            return await self._by_key(header, credential)
        sender, expires = await self.tokens.verify(credential)
        self._believe(header, sender, min(expires - self.tokens.now(), TOKEN_SECONDS))
        return sender

    async def _by_key(self, header: str, key: str) -> Sender:
        try:
            known = await self.source.find(service_keys.digest(key))
        except Problem:
            return self._stale(header)
        if known is None:
            self._deny(header)
            raise _unknown()
        sender = sender_of(known)
        self._believe(header, sender, self.settings.key_cache_seconds)
        return sender

    def _stale(self, header: str) -> Sender:
        """Neither Redis nor Postgres can say: what was true within the hour still is."""
        believed = self._believed.get(header)
        if believed is None or believed.learned + STALE_SECONDS < time.monotonic():
            raise Problem("keys_unavailable", "the key cannot be checked at the moment")
        _warn("service keys are believed unchecked: neither Redis nor Postgres answers")
        self._believed[header] = _Believed(
            believed.sender, time.monotonic() + self.settings.key_cache_seconds, believed.learned
        )
        return believed.sender

    def _believe(self, header: str, sender: Sender, seconds: float) -> None:
        """The oldest go first; whoever is active is learned again all the time, and so never the oldest."""
        now = time.monotonic()
        self._believed.pop(header, None)
        if len(self._believed) >= MOST_BELIEVED:
            del self._believed[next(iter(self._believed))]
        self._believed[header] = _Believed(sender, now + seconds, now)

    def _deny(self, header: str) -> None:
        self._believed.pop(header, None)
        if len(self._denied) >= MOST_DENIED:
            self._denied.clear()
        self._denied[header] = time.monotonic() + DENIED_SECONDS


def require(sender: Sender, scope: str) -> None:
    """Demand a scope: Problem 403 missing_scope."""
    if scope not in sender.scopes:
        raise Problem("missing_scope", f"this needs the scope {scope}", details={"scope": scope})


def sender_of(known: Known) -> Sender:
    """What a service key is to the rules of the door; `admin` holds the other scopes, too."""
    scopes = frozenset(service_keys.SCOPES if "admin" in known.scopes else known.scopes)
    return Sender(f"key:{known.name}:{known.id[:8]}", "admin" if "admin" in scopes else "service", scopes)


def _credential(header: str) -> str:
    """The key or token of `Bearer …`, or the user name of `Basic …`."""
    scheme, _, rest = header.strip().partition(" ")
    rest = rest.strip()
    if scheme.lower() == "bearer" and rest:
        if rest.startswith("mp_") and not service_keys.is_key(rest):
            raise _unknown()
        return rest
    if scheme.lower() != "basic":
        raise unauthorized("unauthorized", "send Authorization: Bearer with a service key or a user token")
    try:
        user = base64.b64decode(rest, validate=True).decode().partition(":")[0]
    except (binascii.Error, ValueError):
        raise _unknown() from None
    if not service_keys.is_key(user):
        raise _unknown()
    return user


def _unknown() -> Problem:
    return unauthorized("invalid_key", "there is no such service key")
