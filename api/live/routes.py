"""GET /v1/live: what changes of one's own, as server-sent events, so that a page need not poll."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import msgspec
from aiohttp import hdrs, web

from api import who
from api.auth.senders import require
from api.cors import CORS
from api.errors import Problem, unauthorized
from api.live import event_stream, listener, snapshots
from api.live.audience import Audience
from api.live.event_stream import EventStream
from api.live.listener import Listener
from api.state import STATE, State
from db import log, service_keys
from jobs.action import Sender

logger = log.get("live")
AUDIENCE: Final = web.AppKey("audience", Audience)

HEARTBEAT_SECONDS: Final = 15.0
RETRY_MS: Final = (1000, 4000)
"""When clients come back: not all of them at once, after a process has ended."""
VANISHED_MS: Final = 45_000
"""How long a peer may leave a heartbeat unconfirmed, where the system can watch that."""


async def lifetime(app: web.Application) -> AsyncIterator[None]:
    """From the application's start to its end; `end` comes before, so that open streams do not hold a stop up."""
    state = app[STATE]
    audience = app[AUDIENCE] = Audience(
        state.redis, state.settings.partitions, state.settings.live_connections, partial(snapshots.events, state)
    )
    audience.start()
    yield
    await audience.stop()


async def end(app: web.Application) -> None:
    """A stop has begun."""
    if AUDIENCE in app:
        app[AUDIENCE].close()


async def live(request: web.Request) -> web.StreamResponse:
    """GET /v1/live?userId=&orgId=&lastEventId=: the state as it is, then what changes."""
    state, audience = request.app[STATE], request.app[AUDIENCE]
    header = _header(request)
    sender, until = await state.auth.standing(header)
    require(sender, "read")
    subjects = _subjects(request, sender)
    headers = await state.rates.check(sender, "read", subjects[0])
    one = audience.admit(request, subjects)
    try:
        text = request.headers.get("Last-Event-ID") or request.query.get("lastEventId") or ""
        await audience.begin(one, listener.positions(text, subjects))
        response = EventStream(headers)
        await _open(request, response)
        await _serve(state, response, one, header, until)
    finally:
        audience.leave(one)
    return response


def _header(request: web.Request) -> str:
    """EventSource can send no header: a user token may stand in the address. It is never logged here."""
    header = request.headers.get(hdrs.AUTHORIZATION)
    token = request.query.get("access_token")
    if header is not None:
        return header
    if token is None:
        raise unauthorized("unauthorized", "send Authorization: Bearer, or a user token as ?access_token=")
    if service_keys.is_key(token) or token.startswith("mp_"):
        raise unauthorized("invalid_key", "a service key may not stand in an address")
    return f"Bearer {token}"


def _subjects(request: web.Request, sender: Sender) -> list[str]:
    """A user's own: the user, and the organisation if there is one. A service names one or both."""
    found = []
    if sender.user_id is not None or "userId" in request.query:
        found.append(f"user:{who.user(request, sender)}")
    if "orgId" in request.query or (sender.org_id is not None and "userId" not in request.query):
        found.append(f"org:{who.org(request, sender)}")
    if not found:
        raise Problem("missing_subject", "name whom to listen to: ?userId= or ?orgId=, or both")
    return found


async def _open(request: web.Request, response: EventStream) -> None:
    request.app[CORS].allow(request, response)
    await response.prepare(request)
    response.opened = time.monotonic()
    peer = request.get_extra_info("socket")
    if peer is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, VANISHED_MS)


async def _serve(state: State, response: EventStream, one: Listener, header: str, until: float) -> None:
    """Until it ends, for whatever reason. The answer has begun: nothing may be raised any more."""
    try:
        await _write(response, one, event_stream.retry(random.randint(*RETRY_MS)))
        due = min(time.time() + HEARTBEAT_SECONDS, until)
        while one.ended is None:
            if part := await one.take(due - time.time()):
                await _write(response, one, part)
            if time.time() >= due:
                await _write(response, one, event_stream.HEARTBEAT)
                until = await _still(state, one, response, header)
                due = min(time.time() + HEARTBEAT_SECONDS, until)
    except (ConnectionError, OSError):
        one.end("gone")
    except Exception:
        logger.exception("a live stream met a fault of its own")
        one.end("fault")


async def _still(state: State, one: Listener, response: EventStream, header: str) -> float:
    """Whether this sender may still listen: tokens expire, keys are revoked. Until when that is known."""
    try:
        sender, until = await state.auth.standing(header)
        require(sender, "read")
    except Problem as problem:
        if problem.status not in {401, 403}:
            return time.time() + HEARTBEAT_SECONDS
        said = msgspec.json.encode({"code": problem.code, "message": problem.message})
        await _write(response, one, event_stream.event("closed", said) + b"\n")
        one.end("expired")
        return 0.0
    return until


async def _write(response: EventStream, one: Listener, part: bytes) -> None:
    one.writing = True
    try:
        await response.write(part)
    finally:
        one.writing = False


# Not for HEAD: aiohttp would send the events behind its head, where the next answer of a connection is read.
ROUTES: Final = (web.get("/v1/live", live, allow_head=False),)
