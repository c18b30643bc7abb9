"""Webhooks of an operator: `/v1/admin/webhooks`, with tests on the spot, new secrets, and what was delivered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec
from aiohttp import web

from api import answer, errors, form, path_id, who
from api.effects import routes
from api.errors import Problem
from api.state import State
from db import log
from jobs.effects import addresses, destinations, trial
from jobs.effects import history as effect_log
from jobs.effects.destinations import Destination, Invalid

logger = log.get("webhooks")
MOST_DESCRIPTION: Final = 500


class Registration(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /v1/admin/webhooks. `types` are exact or `prefix*`; none: every type."""

    url: str
    types: list[str] = []
    description: str = ""


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PATCH /v1/admin/webhooks/{webhookId}: what is left out stays."""

    url: str | msgspec.UnsetType = msgspec.UNSET
    types: list[str] | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET


class Created(Destination, rename="camel", frozen=True, kw_only=True):
    """A webhook with its secret, which is shown this once."""

    secret: str


class Rotated(msgspec.Struct, rename="camel"):
    """The new secret, which is shown this once; the old one signs, too, until `previousSecretUntil`."""

    id: UUID
    secret: str
    previous_secret_until: datetime


class TestResult(msgspec.Struct, rename="camel"):
    """How the receiver took the test; `effectId` is the `webhook-id` that it saw."""

    delivered: bool
    effect_id: str
    status: int | None
    milliseconds: int
    error: str | None
    response: str | None


_registration: Final = msgspec.json.Decoder(Registration)
_change: Final = msgspec.json.Decoder(Change)


async def create(request: web.Request) -> web.Response:
    """POST: the secret is in this answer, and in no other."""
    state = await who.operator(request)
    wanted = await form.read(request, _registration)
    url = await _judged(state, wanted.url, wanted.types, wanted.description)
    async with _transaction(state) as conn:
        made, secret = await destinations.create(conn, url, wanted.types, wanted.description)
    logger.info("a webhook was registered", webhook=str(made.id))
    return answer.fresh(Created(**msgspec.structs.asdict(made), secret=secret), status=201)


async def listed(request: web.Request) -> web.Response:
    """GET: in order of creation."""
    state = await who.operator(request)
    async with state.pool.acquire() as conn:
        return answer.fresh({"webhooks": await destinations.listed(conn, "webhook")})


async def read(request: web.Request) -> web.Response:
    """GET one."""
    state = await who.operator(request)
    async with state.pool.acquire() as conn:
        return answer.fresh(await _found(conn, request))


async def change(request: web.Request) -> web.Response:
    """PATCH: `{"enabled": true}` also forgets failures; `false` discards what waits."""
    state = await who.operator(request)
    wanted = await form.read(request, _change)
    async with state.pool.acquire() as conn:
        held = await _found(conn, request)
    url, types, about, enabled = (
        held.url if wanted.url is msgspec.UNSET else wanted.url,
        held.types if wanted.types is msgspec.UNSET else wanted.types,
        held.description if wanted.description is msgspec.UNSET else wanted.description,
        held.enabled if wanted.enabled is msgspec.UNSET else wanted.enabled,
    )
    if (url, types, about) != (held.url, held.types, held.description):
        url = await _judged(state, url, types, about)
    async with _transaction(state) as conn:
        await destinations.change(conn, held.id, url, types, about, enabled=enabled)
        return answer.fresh(await _found(conn, request))


async def delete(request: web.Request) -> web.Response:
    """DELETE: what waits for it is discarded."""
    state = await who.operator(request)
    one = _id(request)
    async with _transaction(state) as conn:
        if not await destinations.delete(conn, one):
            raise _missing()
    logger.info("a webhook was deleted", webhook=str(one))
    return answer.fresh({"id": one, "deleted": True})


async def rotate(request: web.Request) -> web.Response:
    """POST …/rotate: a new secret; both sign for 24 h."""
    state = await who.operator(request)
    one = _id(request)
    async with _transaction(state) as conn:
        done = await destinations.rotate(conn, one)
    if done is None:
        raise _missing()
    return answer.fresh(Rotated(one, *done))


async def test(request: web.Request) -> web.Response:
    """POST …/test: sends a `milepost.test` effect at once, and tells how the receiver took it."""
    state = await who.operator(request)
    one = _id(request)
    async with state.pool.acquire() as conn:
        await _found(conn, request)
    done = await trial.run(state.pool, state.settings, one)
    if done is None:
        raise _missing()
    tried = done.attempt
    result = TestResult(tried.ok, done.message_id, tried.status, tried.milliseconds, tried.error, tried.response)
    return answer.fresh(result)


async def deliveries(request: web.Request) -> web.Response:
    """GET …/deliveries?status=&limit=&cursor=: newest first, with every attempt."""
    state = await who.operator(request)
    status, limit, cursor = routes.status(request), routes.limit(request), routes.cursor(request)
    async with state.pool.acquire() as conn:
        held = await _found(conn, request)
        found, following = await effect_log.of_destination(conn, held.id, status, limit, cursor)
    for one in found:
        one.destination = effect_log.Target(held.id, held.sort, held.url)
    return answer.fresh({"deliveries": found, "cursor": str(following) if following else None})


async def _judged(state: State, url: str, types: list[str], description: str) -> str:
    """The URL as it is kept, after every check; Problem 422 with the path."""
    if len(description) > MOST_DESCRIPTION or not description.isprintable():
        said = f"a description is {MOST_DESCRIPTION} printable characters at most"
        raise errors.parameter("description", said, "invalid_webhook")
    try:
        destinations.check_types(types)
        parsed = destinations.check_url(url, production=state.settings.env == "production")
        await destinations.check_place(parsed, addresses.guard(state.settings))
    except Invalid as error:
        raise _problem(error) from None
    return str(parsed)


@asynccontextmanager
async def _transaction(state: State) -> AsyncIterator[asyncpg.Connection]:
    try:
        async with state.pool.acquire() as conn, conn.transaction():
            yield conn
    except Invalid as error:
        raise _problem(error) from None


def _problem(error: Invalid) -> Problem:
    details: dict[str, Any] | None = {"path": error.path} if error.path else None
    return Problem(error.code, str(error), details=details)


def _id(request: web.Request) -> UUID:
    return path_id.read(request, "webhookId", _missing)


def _missing() -> Problem:
    return Problem("not_found", "there is no such webhook")


async def _found(conn: asyncpg.Connection, request: web.Request) -> Destination:
    held = await destinations.found(conn, _id(request))
    if held is None:
        raise _missing()
    return held


ROUTES: Final = (
    web.post("/v1/admin/webhooks", create),
    web.get("/v1/admin/webhooks", listed),
    web.get("/v1/admin/webhooks/{webhookId}", read),
    web.patch("/v1/admin/webhooks/{webhookId}", change),
    web.delete("/v1/admin/webhooks/{webhookId}", delete),
    web.post("/v1/admin/webhooks/{webhookId}/test", test),
    web.post("/v1/admin/webhooks/{webhookId}/rotate", rotate),
    web.get("/v1/admin/webhooks/{webhookId}/deliveries", deliveries),
)
