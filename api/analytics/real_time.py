"""What happens now, once for all who look: `/api/admin/analytics/real-time`, and `/api/admin/live` as events."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web

from api import errors
from api.auth.senders import require
from api.cors import CORS
from api.errors import Problem, unauthorized
from api.live import event_stream
from api.live.event_stream import EventStream
from api.state import STATE, State
from db import ending, keys, log, stream
from jobs import status
from jobs.analytics import answers, now

logger = log.get("real-time")

EVERY_SECONDS: Final = 2.0
"""How often it is reckoned while somebody looks."""
LOOKERS: Final = 50
"""Open streams of one process."""
BELIEVE_SECONDS: Final = 15.0
"""How long a sender is believed: tokens expire, keys are revoked."""
WRITE_SECONDS: Final = 15.0
"""How long a client may leave an event unread before it is cut off; it comes back."""
RETRY_MS: Final = (1000, 4000)


class Watch:
    """One per process: the newest answer, reckoned every two seconds while somebody looks."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._event = b""
        self._number = 0
        self._news = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._asked: asyncio.Task[bytes] | None = None
        self.lookers = 0
        self.is_closing = False

    async def body(self) -> bytes:
        """The answer, fresh; those who ask at once share one."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.create_task(read(self._state), name="real-time")
        return await asyncio.shield(self._asked)

    def enter(self) -> None:
        """Somebody looks. Raises Problem 503."""
        if self.is_closing:
            raise Problem("not_ready", "shutting down")
        if self.lookers >= LOOKERS:
            raise Problem("streams_full", f"{LOOKERS} people look already: close one of the streams")
        self.lookers += 1
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="watch-real-time")

    async def leave(self) -> None:
        """Somebody looks no more; without anybody nothing is reckoned."""
        self.lookers -= 1
        if self.lookers == 0 and self._task is not None:
            task, self._task, self._event = self._task, None, b""
            await ending.ended(task)

    async def next(self, number: int) -> tuple[int, bytes]:
        """The event behind the one of this number, and its number; b"" at the end of this process."""
        async with self._news:
            await self._news.wait_for(lambda: self.is_closing or (self._event and self._number > number))
            return self._number, b"" if self.is_closing else self._event

    async def close(self) -> None:
        """End all streams."""
        self.is_closing = True
        await self._tell(b"")

    async def stop(self) -> None:
        """Nothing is reckoned any more."""
        for task in (self._task, self._asked):
            if task is not None:
                await ending.ended(task)

    async def _run(self) -> None:
        while True:
            began = time.monotonic()
            await self._tell(await self._reckoned())
            await asyncio.sleep(max(0.1, EVERY_SECONDS - (time.monotonic() - began)))

    async def _reckoned(self) -> bytes:
        """The event; of what could not be read, why."""
        try:
            return event_stream.event("now", await self.body())
        except Exception as error:  # noqa: BLE001 - the edge: errors.problem_of logs what is our mistake
            problem = errors.problem_of(error)
            said = {"code": problem.code, "message": problem.message}
            return event_stream.event("fault", msgspec.json.encode(said))

    async def _tell(self, event: bytes) -> None:
        async with self._news:
            self._event, self._number = event, self._number + 1
            self._news.notify_all()


WATCH: Final = web.AppKey("watch", Watch)


async def read(state: State) -> bytes:
    """The answer, as JSON: of Postgres what was rolled up, of Redis how far the log is behind."""
    at = state.clock.now()
    async with (
        state.answering.acquire() as conn,
        conn.transaction(isolation="repeatable_read", readonly=True),
    ):
        body = await now.read(conn, at)
        body["appliedThrough"] = await answers.through(conn, at)
    return msgspec.json.encode(body | {"shedding": state.pace.is_slow} | await _pipe(state))


async def _pipe(state: State) -> dict[str, Any]:
    number = state.settings.partitions
    sizes, lags = await stream.size(state.redis, number), await stream.lags(state.redis, number)
    beats: dict[bytes, bytes] = await state.redis.hgetall(keys.WORKERS)  # type: ignore[misc]
    return {
        "partitions": [
            {"partition": n, "backlogBytes": sizes[n], "lagSeconds": round(lags[n], 3)} for n in range(number)
        ],
        "workers": [status.worker(name.decode(), msgspec.json.decode(beat)) for name, beat in sorted(beats.items())],
    }


async def real_time(request: web.Request) -> web.Response:
    """GET /api/admin/analytics/real-time."""
    await request.app[STATE].auth.sender(request, "admin")
    body = await request.app[WATCH].body()
    return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})


async def live(request: web.Request) -> web.StreamResponse:
    """GET /api/admin/live: the same as an event every two seconds."""
    state, watch = request.app[STATE], request.app[WATCH]
    header = request.headers.get(hdrs.AUTHORIZATION)
    if header is None:
        raise unauthorized("unauthorized", "send Authorization: Bearer with a service key that has `admin`")
    sender, until = await state.auth.standing(header)
    require(sender, "admin")
    watch.enter()
    try:
        response = EventStream()
        request.app[CORS].allow(request, response)
        await response.prepare(request)
        response.opened = time.monotonic()
        await _serve(state, watch, response, header, until)
    finally:
        await watch.leave()
    return response


async def _serve(state: State, watch: Watch, response: EventStream, header: str, until: float) -> None:
    """Until the client leaves or may look no longer. The answer has begun: nothing may be raised any more."""
    number, due = 0, min(time.time() + BELIEVE_SECONDS, until)
    try:
        await response.write(event_stream.retry(random.randint(*RETRY_MS)))
        while True:
            number, event = await watch.next(number)
            if not event:
                return
            if time.time() >= due:
                until = await _still(state, header)
                due = min(time.time() + BELIEVE_SECONDS, until)
            async with asyncio.timeout(WRITE_SECONDS):
                await response.write(event + event_stream.last_id(str(number)))
    except Problem as problem:
        said = msgspec.json.encode({"code": problem.code, "message": problem.message})
        await response.write(event_stream.event("closed", said) + b"\n")
    except (ConnectionError, OSError):
        return
    except Exception:
        logger.exception("a live stream met a fault of its own")


async def _still(state: State, header: str) -> float:
    """Until when the sender is known to be an admin; raises Problem 401 or 403 when it is none any more."""
    try:
        sender, until = await state.auth.standing(header)
        require(sender, "admin")
    except Problem as problem:
        if problem.status in {401, 403}:
            raise
        return time.time() + BELIEVE_SECONDS
    return until


async def lifetime(app: web.Application) -> AsyncIterator[None]:
    """From the application's start to its end; `end` comes before, so that open streams do not hold a stop up."""
    watch = app[WATCH] = Watch(app[STATE])
    yield
    await watch.stop()


async def end(app: web.Application) -> None:
    """A stop has begun."""
    if WATCH in app:
        await app[WATCH].close()


ROUTES: Final = (web.get("/api/admin/analytics/real-time", real_time), web.get("/api/admin/live", live))
