"""Effects of an operator: `/v1/admin/effects`, listed with their deliveries, retried and discarded."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

import asyncpg
import msgspec
from aiohttp import web

from api import answer, errors, form, pages, who
from api.errors import Problem
from api.state import State
from db import log
from jobs.effects import destinations
from jobs.effects import history as effect_log
from jobs.effects.destinations import Invalid
from jobs.effects.history import STATUSES, Filter, Status
from jobs.place import EffectPlace

logger = log.get("effects")
LIMIT, MOST = 50, 200
_ID: Final = re.compile(r"msg_[a-z0-9]{1,60}", re.ASCII)
RETRIED: Final = ("dead", "discarded", "pending")
DISCARDED: Final = ("dead", "pending")


class Selection(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a retry or a discard by filter: those that are dead, unless another status is named."""

    status: str = "dead"
    type: str | None = None
    destination: UUID | None = None


_selection: Final = msgspec.json.Decoder(Selection)
Work = Callable[[asyncpg.Connection, Sequence[UUID]], Awaitable[int]]


async def listed(request: web.Request) -> web.Response:
    """GET ?status=&type=&destination=&limit=&cursor=: newest first."""
    state = await who.operator(request)
    chosen = Filter(status(request), _type(request), _destination(request))
    many, behind = limit(request), cursor(request)
    async with state.pool.acquire() as conn:
        found, following = await effect_log.page(conn, chosen, many, behind)
    return answer.fresh({"effects": found, "cursor": str(following) if following else None})


async def read(request: web.Request) -> web.Response:
    """GET one, with every attempt."""
    state = await who.operator(request)
    async with state.pool.acquire() as conn:
        found = await effect_log.find(conn, [_id(request)])
    if not found:
        raise _missing()
    return answer.fresh(found[0])


async def retry(request: web.Request) -> web.Response:
    """POST …/retry: its deliveries that are not delivered go again, at once."""
    return await _one(request, "retried", RETRIED, effect_log.retry)


async def discard(request: web.Request) -> web.Response:
    """POST …/discard: its deliveries that wait or are dead are put away."""
    return await _one(request, "discarded", DISCARDED, effect_log.discard)


async def retry_all(request: web.Request) -> web.Response:
    """POST /v1/admin/effects/retry with a filter."""
    return await _many(request, "retried", RETRIED, effect_log.retry)


async def discard_all(request: web.Request) -> web.Response:
    """POST /v1/admin/effects/discard with a filter."""
    return await _many(request, "discarded", DISCARDED, effect_log.discard)


async def _one(request: web.Request, name: str, statuses: Sequence[str], work: Work) -> web.Response:
    state, one = await who.operator(request), _id(request)
    async with state.pool.acquire() as conn:
        if not await effect_log.find(conn, [one]):
            raise _missing()
    return await _worked(state, name, statuses, Filter(), [one], work)


async def _many(request: web.Request, name: str, statuses: Sequence[str], work: Work) -> web.Response:
    state = await who.operator(request)
    wanted = await form.read(request, _selection)
    if wanted.status not in statuses:
        said = (
            f"what is {wanted.status} cannot be {name}: {', '.join(statuses)} can"
            if wanted.status in STATUSES
            else (f"status is one of {', '.join(statuses)}")
        )
        raise errors.parameter("status", said, "invalid_body")
    if wanted.type is not None:
        _check_type(wanted.type, "invalid_body")
    return await _worked(state, name, [wanted.status], Filter(None, wanted.type, wanted.destination), None, work)


async def _worked(
    state: State, name: str, statuses: Sequence[str], chosen: Filter, ids: Sequence[str] | None, work: Work
) -> web.Response:
    """Chunk by chunk, each in a transaction of its own; `refused`: those of destinations that are disabled."""
    done = seen = 0
    async with state.pool.acquire() as conn:
        async for chunk in effect_log.chosen_deliveries(conn, statuses, chosen, ids):
            async with conn.transaction():
                done += await work(conn, chunk)
            seen += len(chunk)
    logger.info("an operator changed deliveries", done=name, number=done)
    return answer.fresh({name: done, "refused": seen - done})


# Parameters: Problem 400 for what is none.


def status(request: web.Request) -> Status | None:
    """`?status=`."""
    given = request.query.get("status")
    if given is None:
        return None
    found = next((one for one in STATUSES if one == given), None)
    if found is None:
        raise errors.parameter("status", f"status is one of {', '.join(STATUSES)}")
    return found


def limit(request: web.Request) -> int:
    """`?limit=`: 1 to 200."""
    return pages.number(request, "limit", LIMIT, MOST)


def cursor(request: web.Request) -> EffectPlace | None:
    """`?cursor=`, as an earlier answer gave it."""
    return pages.place(request.query.get("cursor"), EffectPlace.parse)


def _type(request: web.Request) -> str | None:
    given = request.query.get("type")
    if given is not None:
        _check_type(given, "invalid_parameter")
    return given


def _check_type(given: str, code: str) -> None:
    try:
        destinations.check_types([given])
    except Invalid as error:
        raise errors.parameter("type", str(error), code) from None


def _destination(request: web.Request) -> UUID | None:
    given = request.query.get("destination")
    try:
        return None if given is None else UUID(given)
    except ValueError:
        raise errors.parameter("destination", "a destination's id is a UUID") from None


def _id(request: web.Request) -> str:
    given = request.match_info["effectId"]
    if not _ID.fullmatch(given):
        raise _missing()
    return given


def _missing() -> Problem:
    return Problem("not_found", "there is no such effect: ids look like msg_…, the webhook-id that receivers see")


ROUTES: Final = (
    web.get("/v1/admin/effects", listed),
    web.post("/v1/admin/effects/retry", retry_all),
    web.post("/v1/admin/effects/discard", discard_all),
    web.get("/v1/admin/effects/{effectId}", read),
    web.post("/v1/admin/effects/{effectId}/retry", retry),
    web.post("/v1/admin/effects/{effectId}/discard", discard),
)
