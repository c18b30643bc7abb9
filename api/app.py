"""The aiohttp application: its routes, what stands around each, its start and stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from time import monotonic
from typing import Final

import asyncpg
from aiohttp import web
from aiohttp.typedefs import Handler
from redis.exceptions import RedisError

from api import beacons, errors, flags, health, ingest, openapi, protocol, sessions
from api.admin import dead_letters, erasures, exports, overviews
from api.admin import page as dashboard
from api.analytics import real_time
from api.analytics import routes as analytics
from api.auth.senders import Auth
from api.certificates import routes as certificates
from api.clock import Clock
from api.cors import CORS, Cors
from api.courses import progress
from api.courses import routes as courses
from api.demo import routes as demo
from api.effects import routes as effects
from api.effects import webhooks
from api.governing import Governing
from api.graph import endpoint as graph
from api.ingest import PREFER
from api.live import routes as live
from api.live.event_stream import EventStream
from api.onboarding import overview as onboarding_overview
from api.onboarding import routes as onboarding
from api.one_write import OneWrite
from api.pace import FLUSH_SECONDS, Pace
from api.rates import Rates
from api.referrals import overview as referrals_overview
from api.referrals import routes as referrals
from api.state import STATE, State
from api.usage import accounts, plans, reports
from api.usage import routes as usage
from api.waiting import Waiting
from db import cluster, connect, ending, lanes, log, metrics, partitions, promises, stream
from db.appending import Unavailable
from db.settings import Settings

logger = log.get("api")
_warn = log.Seldom(logger, seconds=60)

BODY_BYTES: Final = 20 * 1024 * 1024
LOOK_SECONDS: Final = 0.5
"""How often the size of the backlog is looked at."""


async def root(_: web.Request) -> web.Response:
    """GET /: who opens the address alone is shown what there is, also below a path of a proxy."""
    raise web.HTTPFound("docs")


def routes() -> list[web.RouteDef]:
    """Every route."""
    return [
        web.post("/v1/actions", ingest.actions),
        web.get("/v1/kinds", openapi.kinds),
        web.get("/v1/sessions/{sessionId}", sessions.read),
        *beacons.ROUTES,
        web.get("/openapi.json", openapi.document),
        web.get("/docs", openapi.page),
        web.get("/", root),
        web.get("/livez", health.live),
        web.get("/readyz", health.ready),
        web.get("/metrics", health.exposition),
        *live.ROUTES,
        *analytics.ROUTES,
        *real_time.ROUTES,
        *overviews.ROUTES,
        *dead_letters.ROUTES,
        *erasures.ROUTES,
        *exports.ROUTES,
        *dashboard.ROUTES,
        *demo.ROUTES,
        *onboarding.ROUTES,
        *onboarding_overview.ROUTES,
        *referrals.ROUTES,
        *referrals_overview.ROUTES,
        *flags.ROUTES,
        *graph.ROUTES,
        *webhooks.ROUTES,
        *effects.ROUTES,
        *certificates.ROUTES,
        *progress.ROUTES,
        *courses.ROUTES,
        *usage.ROUTES,
        *plans.ROUTES,
        *accounts.ROUTES,
        *reports.ROUTES,
    ]


def make(settings: Settings) -> web.Application:
    """The application of one process."""
    protocol.use()
    app = web.Application(
        client_max_size=BODY_BYTES,
        # Bodies are inflated by api/inflate.py: aiohttp takes a gzip that breaks off for a whole one.
        handler_args={"auto_decompress": False, "lingering_time": protocol.LINGER_SECONDS},
    )
    cors = app[CORS] = Cors(settings.cors_origins)
    app.add_routes([web.route(one.method, one.path, around(one.handler, cors), **one.kwargs) for one in routes()])
    app.router.add_route("*", "/{path:.*}", around(_elsewhere(cors), cors, "none"))
    app.cleanup_ctx.append(lambda _: _lifetime(app, settings))
    app.cleanup_ctx.append(lambda _: certificates.lifetime(app, settings))
    app.cleanup_ctx.append(exports.lifetime)
    app.cleanup_ctx.append(live.lifetime)
    app.on_shutdown.append(live.end)
    app.cleanup_ctx.append(real_time.lifetime)
    app.on_shutdown.append(real_time.end)
    return app


def around(handler: Handler, cors: Cors, name: str | None = None, state: State | None = None) -> Handler:
    """Around every handler: errors become answers, CORS headers stand on errors too, the time is measured.

    Not a middleware of aiohttp's, whose machinery adds 3 us to the 25 of a bare request. `state`: for requests that
    have not been to the router, and know no application.
    """
    observed: dict[tuple[str, int, bool], Callable[[float], None]] = {}

    def observe(request: web.Request, method: str, status: int, waited: bool) -> Callable[[float], None]:
        path = name
        if path is None:
            resource = request.match_info.route.resource
            path = resource.canonical if resource else ""
        told = partial((state or request.app[STATE]).pace.note, f"{method} {path}", status=status)
        return metrics.http(path, method, status, partial(told, counts=status == 202 and not waited)).observe

    async def answer(request: web.Request) -> web.StreamResponse:
        started = monotonic()
        try:
            response = await handler(request)
        except Exception as error:  # noqa: BLE001 - the edge: errors.response logs what is our mistake
            response = errors.response(error)
        if cors.origins:
            response = response.ordinary() if isinstance(response, OneWrite) else response
            cors.allow(request, response)
        key = (metrics.method(request.method), response.status, PREFER in request.headers)
        known = observed.get(key)
        if known is None:
            known = observed[key] = observe(request, *key)
        known((response.opened if isinstance(response, EventStream) else monotonic()) - started)
        return response

    return answer


def _elsewhere(cors: Cors) -> Handler:
    """What no route takes: a browser's preflight, a known path with another method, an unknown path."""

    async def answer(request: web.Request) -> web.StreamResponse:
        allowed = cors.preflight(request)
        if allowed is not None:
            return allowed
        methods: set[str] = set()
        for resource in request.app.router.resources():
            if resource is not request.match_info.route.resource:
                methods |= (await resource.resolve(request))[1]
        if methods:
            raise web.HTTPMethodNotAllowed(request.method, methods)
        raise web.HTTPNotFound

    return answer


async def _lifetime(app: web.Application, settings: Settings) -> AsyncIterator[None]:
    client = connect.redis(settings.log_url, connections=256)
    pool = await connect.pool(settings, "milepost-api", 10)
    journal = lanes.log(client, settings.partitions, settings.backlog_limit)
    waiting = Waiting(client, settings.partitions)
    clock = Clock(asyncio.get_running_loop())
    auth = Auth(settings, client, pool)
    shared = lanes.shared(client)
    rates, pace = Rates(settings, shared), Pace(settings.shed_above)
    replica = await _replica(settings)
    state = app[STATE] = State(*(settings, client, pool, journal, shared, auth, rates, waiting, clock, pace, replica))
    await _check(state)
    governing = Governing(state)
    await governing.start()
    journal.start()
    shared.start()
    waiting.start()
    tasks = [asyncio.create_task(_watch(state), name="watch"), asyncio.create_task(_hand_over(state), name="pace")]
    yield
    for task in tasks:
        await ending.ended(task)
    await _flush(state)
    await governing.stop()
    await journal.stop()
    await shared.stop()
    await waiting.stop()
    await auth.close()
    await client.aclose()
    pool.terminate()
    if replica is not None:
        replica.terminate()


async def _replica(settings: Settings) -> asyncpg.Pool | None:
    url = settings.read_database_url
    return await connect.pool(settings, "milepost-answers", 10, url) if url else None


async def _check(state: State) -> None:
    """What a start demands of Redis; while Redis is away, requests are refused and the check is tried again.

    Raises promises.Misconfigured and partitions.Mismatch, which no later try can mend.
    """
    settings, journal = state.settings, state.log
    try:
        journal.waits = await promises.demand(state.redis, settings.durability)
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
        metrics.fold()
        state.pace.look(monotonic())
        metrics.SHEDDING.set(state.pace.is_slow)
        try:
            if not state.ready or cluster.is_unchecked(state.redis):
                await _check(state)
            state.log.backlog = await stream.backlog(state.redis, state.settings.partitions)
        except (RedisError, OSError, TimeoutError):
            state.ready = False
        except (promises.Misconfigured, partitions.Mismatch) as error:
            logger.error("refusing actions", reason=str(error))  # noqa: TRY400 - the reason says it all
            state.log.refusal = Unavailable(str(error))
        except Exception:
            logger.exception("the look at the backlog met a fault of its own; trying again")


async def _hand_over(state: State) -> None:
    """What the requests took goes to Postgres, in a row every few seconds."""
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        await _flush(state)


async def _flush(state: State) -> None:
    try:
        await state.pace.flush(state.pool)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        _warn("the API's own times wait for Postgres", error=str(error) or type(error).__name__)
    except Exception:
        logger.exception("handing over the API's own times met a fault of its own; trying again")
