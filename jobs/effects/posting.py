"""One POST to a stranger: bounded in time and in what is read, no redirects, no cookies, no proxies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import aiohttp
from aiohttp import hdrs

from jobs.effects import delivery
from jobs.effects.addresses import Guard
from jobs.effects.delivery import Attempt

AGENT: Final = "Milepost/0.1"
EXCERPT_SECONDS: Final = 2.0
"""How long the text of an answer may take whose status is known: it is for people alone."""
SLOWING: Final = frozenset((429, 502, 503, 504))


def session(guard: Guard | None = None) -> aiohttp.ClientSession:
    """A session for many destinations; with a guard it reaches permitted addresses only."""
    connector = aiohttp.TCPConnector(
        limit=0,
        use_dns_cache=False,
        resolver=guard,
        socket_factory=guard.socket if guard else None,
        keepalive_timeout=15,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        headers={hdrs.USER_AGENT: AGENT, hdrs.CONTENT_TYPE: "application/json", hdrs.ACCEPT_ENCODING: "identity"},
    )


async def post(
    client: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], seconds: float
) -> Attempt:
    """Send and see: whatever goes wrong is in the attempt."""
    at, started = datetime.now(UTC), time.monotonic()
    status: int | None = None
    error = response = None
    wait = 0.0
    try:
        async with (
            asyncio.timeout(seconds),
            client.post(url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            status = answer.status
            if status in SLOWING:
                wait = delivery.retry_after(answer.headers.get(hdrs.RETRY_AFTER))
            response = await _excerpt(answer)
    except TimeoutError:
        error = f"no answer within {seconds:g} s"
    except (aiohttp.ClientError, OSError, ValueError) as fault:
        error = delivery.text(_told(fault))
    if status is not None:
        error = "redirects are not followed" if 300 <= status < 400 else None
    return Attempt(at, int((time.monotonic() - started) * 1000), status, error, response, wait)


def _told(fault: Exception) -> str:
    if isinstance(fault, aiohttp.ClientConnectorError) and not isinstance(fault, aiohttp.ClientSSLError):
        return f"cannot connect to {fault.host}:{fault.port}: {fault.os_error.strerror or fault.os_error}"
    return str(fault) or type(fault).__name__


async def _excerpt(answer: aiohttp.ClientResponse) -> str:
    """The beginning of an answer's text; a connection with more on it is not used again."""
    found = b""
    try:
        async with asyncio.timeout(EXCERPT_SECONDS):
            while len(found) < delivery.TEXT and (chunk := await answer.content.read(delivery.TEXT - len(found))):
                found += chunk
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass  # the status has said it all
    if not answer.content.at_eof():
        answer.close()
    return delivery.text(found)
