"""The aiohttp application: its routes, its one middleware, its start and stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import asyncpg
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from redis.exceptions import RedisError

from api import errors, health, ingest, openapi, protocol, sessions
from api.auth import Auth
from api.clock import Clock
from api.cors import Cors
from api.rates import Rates
from api.state import STATE, State
from api.waiting import Waiting
from db import connect, log, metrics, partitions, stream
from db.settings import Settings
from db.stream import Log, Unavailable
from db.wire import Reads

logger = log.get("api")

BODY_BYTES: Final = 20 * 1024 * 1024
LOOK_SECONDS: Final = 0.5
"""How often the size of the backlog is looked at."""


def routes() -> list[web.RouteDef]:
    """Every route, in the order of CONTRACTS."""
    return [
        web.post("/v1/actions", ingest.actions),
        web.get("/v1/kinds", openapi.kinds),
        web.get("/v1/sessions/{sessionId}", sessions.read),
        web.post("/api/sessions/track-interaction", ingest.track_interaction),
        web.post("/api/sessions/save-config", ingest.save_config),
        web.post("/api/performance/track", ingest.track_performance),
        web.get("/openapi.json", openapi.document),
        web.get("/docs", openapi.page),
        web.get("/livez", health.live),
        web.get("/readyz", health.ready),
        web.get("/metrics", health.exposition),
    ]


def make(settings: Settings) -> web.Application:
    """The application of one process."""
    protocol.use()
    app = web.Application(
        client_max_size=BODY_BYTES,
        middlewares=[_middleware(Cors(settings.cors_origins))],
        # Bodies are inflated by api/inflate.py: aiohttp takes a gzip that breaks off for a whole one.
        handler_args={"auto_decompress": False, "lingering_time": protocol.LINGER_SECONDS},
    )
    app.add_routes(routes())
    app.cleanup_ctx.append(lambda _: _lifetime(app, settings))
    return app


def _middleware(cors: Cors) -> Middleware:
    """Around every request: errors become answers, CORS headers stand on errors too, the time is measured."""
    observed: dict[tuple[web.AbstractRoute, int], metrics.Observe] = {}

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        # The loop's time is read once a turn: exact to a millisecond, as the buckets are.
        seconds = request.app[STATE].clock.seconds
        started = seconds()
        try:
            response = cors.preflight(request) or await handler(request)
        except Exception as error:  # noqa: BLE001 - the edge: errors.response logs what is our mistake
            response = errors.response(error)
        if cors.origins:
            cors.allow(request, response)
        route = request.match_info.route
        observe = observed.get((route, response.status))
        if observe is None:
            name = route.resource.canonical if route.resource else "none"
            observe = metrics.http(name, request.method, response.status)
            if route.resource:
                observed[route, response.status] = observe
        observe(seconds() - started)
        return response

    return around


async def _lifetime(app: web.Application, settings: Settings) -> AsyncIterator[None]:
    client = connect.redis(settings.log_url, connections=256)
    pool = await connect.pool(settings, "milepost-api", 10)
    journal = Log(client, settings.partitions, settings.backlog_limit)
    waiting = Waiting(client, settings.partitions)
    clock = Clock(asyncio.get_running_loop())
    auth = Auth(settings, client, pool)
    reads = Reads(client)
    state = app[STATE] = State(settings, client, pool, journal, reads, auth, Rates(settings), waiting, clock)
    await _check(state)
    journal.start()
    reads.start()
    waiting.start()
    watch = asyncio.create_task(_watch(state), name="watch")
    yield
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    await journal.stop()
    await reads.stop()
    await waiting.stop()
    await auth.close()
    await state.rates.close()
    await client.aclose()
    pool.terminate()


async def _check(state: State) -> None:
    """What a start demands of Redis; while Redis is away, requests are refused and the check is tried again.

    Raises stream.Misconfigured and partitions.Mismatch, which no later try can mend.
    """
    settings, journal = state.settings, state.log
    try:
        journal.waits = await stream.promise(state.redis, settings.durability)
        if not await partitions.recall(state.redis, settings.partitions):
            await partitions.agree(state.pool, state.redis, settings.partitions)
    except (RedisError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        logger.warning("not ready: waiting for Redis", error=str(error) or type(error).__name__)
        return
    journal.refusal, state.ready = None, True


async def _watch(state: State) -> None:
    """Look at the backlog; check a Redis that came back as a start would."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            if not state.ready:
                await _check(state)
            state.log.backlog = sum(await stream.size(state.redis, state.settings.partitions))
        except (RedisError, OSError, TimeoutError):
            state.ready = False
        except (stream.Misconfigured, partitions.Mismatch) as error:
            logger.error("refusing actions", reason=str(error))  # noqa: TRY400 - the reason says it all
            state.log.refusal = Unavailable(str(error))
        except Exception:
            logger.exception("the look at the backlog met a fault of its own; trying again")
