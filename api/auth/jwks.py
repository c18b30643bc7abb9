"""The identity provider's public keys: fetched, kept, fetched again when a token names an unknown one."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import aiohttp
import jwt
import msgspec

from api.errors import Problem, unauthorized
from db import log

_warn = log.Seldom(log.get("jwks"), seconds=10)

PUBLIC: Final = frozenset(("RS256", "ES256", "EdDSA"))
MAX_BYTES: Final = 1 << 20
FETCH_SECONDS: Final = 5.0
FRESH_SECONDS: Final = 600.0
"""After this the keys are fetched again in passing, so that withdrawn ones go."""
RETRY_SECONDS: Final = 1.0
"""Between two fetches when the last one failed."""


class Jwks:
    """The keys of one JWKS address. One fetch at a time; unknown key ids start one every `interval` seconds at most."""

    def __init__(self, url: str, interval: float = 10.0) -> None:
        self.url, self.interval = url, interval
        self._keys: list[jwt.PyJWK] = []
        self._fetched_at = self._tried_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def key(self, kid: Any, algorithm: str) -> jwt.PyJWK:
        """The key with this id that signs with this algorithm; without an id, the only one that does.

        Raises Problem: invalid_token when there is none, keys_unavailable when the address cannot be asked.
        """
        found = self._find(kid, algorithm)
        now = time.monotonic()
        if found is None:
            await self._refetch(now)
            found = self._find(kid, algorithm)
        elif now > self._fetched_at + FRESH_SECONDS:
            self._start(now)
        if found is None:
            if self._fetched_at < self._tried_at:
                raise Problem("keys_unavailable", "the keys that sign user tokens cannot be fetched")
            raise unauthorized("invalid_token", "the key of the token is unknown")
        return found

    async def close(self) -> None:
        """End a fetch under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _find(self, kid: Any, algorithm: str) -> jwt.PyJWK | None:
        """A key's own algorithm counts, so that no other family or curve can be used with it."""
        fitting = [key for key in self._keys if key.algorithm_name == algorithm]
        if kid is not None:
            fitting = [key for key in fitting if key.key_id == kid]
        return fitting[0] if len(fitting) == 1 or (fitting and kid is not None) else None

    async def _refetch(self, now: float) -> None:
        self._start(now)
        if self._task is not None and not self._task.done():
            await asyncio.shield(self._task)

    def _start(self, now: float) -> None:
        if self._task is not None and not self._task.done():
            return
        failed = self._fetched_at < self._tried_at
        if now >= self._tried_at + (min(RETRY_SECONDS, self.interval) if failed else self.interval):
            self._tried_at = now
            self._task = asyncio.create_task(self._fetch(now), name="jwks")

    async def _fetch(self, now: float) -> None:
        try:
            self._keys = _usable(await _get(self.url))
            self._fetched_at = now
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, jwt.PyJWTError, msgspec.DecodeError) as error:
            _warn("keys of user tokens not fetched", url=self.url, error=str(error) or type(error).__name__)


async def _get(url: str) -> bytes:
    timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
        answer.raise_for_status()
        body = await answer.content.read(MAX_BYTES + 1)
        while len(body) <= MAX_BYTES and (more := await answer.content.read(MAX_BYTES)):
            body += more
    if len(body) > MAX_BYTES:
        raise ValueError("the key set is larger than 1 MiB")
    return body


def _usable(body: bytes) -> list[jwt.PyJWK]:
    """Keys for signatures. A secret in the set is never found: its algorithm is none of PUBLIC."""
    given = msgspec.json.decode(body, type=dict[str, Any])
    found = jwt.PyJWKSet.from_dict(given).keys
    return [key for key in found if key.public_key_use in (None, "sig")]
