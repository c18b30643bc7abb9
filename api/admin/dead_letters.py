"""Dead letters of an operator: `/v1/admin/dead`, looked at, retried, discarded. Thin over jobs/dead.py.

All of a filter are worked through in parts: each request does some, and its answer says where the next one begins.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
from aiohttp import web

from api import answer, errors, form, pages, path_id, who
from api.errors import Problem
from api.state import State
from db import log
from jobs import dead, dead_filter
from jobs.dead import Retried, Retry
from jobs.dead_filter import Filter
from jobs.place import Place

logger = log.get("dead_letters")
LIMIT, MOST = 50, 200
PART, REASONS = 1000, 10
STATUSES: Final = ("open", "all")


class LetterSelection(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a retry or a discard of all: which ones, where to go on, and how many at most in this request."""

    code: str | None = None
    kind: str | None = None
    family: Annotated[str | None, msgspec.Meta(extra_json_schema={"enum": [*dead_filter.FAMILY_NAMES, None]})] = None
    cursor: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=PART)] = PART


_selection: Final = msgspec.json.Decoder(LetterSelection)


async def listed(request: web.Request) -> web.Response:
    """GET ?status=open|all&code=&kind=&family=&limit=&cursor=: newest first; the open ones by code and by kind."""
    state = await who.operator(request)
    status, given = request.query.get("status", "open"), request.query.get
    if status not in STATUSES:
        raise errors.parameter("status", f"status is one of {', '.join(STATUSES)}")
    chosen = _filter(Filter(given("code"), given("kind"), given("family")), "invalid_parameter")
    limit, behind = pages.number(request, "limit", LIMIT, MOST), pages.place(given("cursor"), Place.parse)
    async with state.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        rows, total, following = await dead_filter.page(conn, chosen, limit, behind, every=status == "all")
        codes = await conn.fetch(dead.QUERIES["dead_letter_codes"])
        kinds = await conn.fetch(dead.QUERIES["dead_letter_kinds"])
    return answer.fresh(
        {
            "letters": [_line(row) for row in rows],
            "total": total,
            "cursor": str(following) if following else None,
            "codes": [dict(row) for row in codes],
            "kinds": [{**row, "family": dead_filter.family_of(row["kind"])} for row in kinds],
        }
    )


def _filter(chosen: Filter, code: str) -> Filter:
    for name, value in chosen._asdict().items():
        if value is not None and "\0" in value:
            raise errors.parameter(name, f"no dead letter has such a {name}", code)
    if chosen.family not in {None, *dead_filter.FAMILY_NAMES}:
        raise errors.parameter("family", f"family is one of {', '.join(dead_filter.FAMILY_NAMES)}", code)
    return chosen


def _line(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "id": row["id"],
        "actionId": row["action_id"],
        "kind": row["kind"],
        "subject": row["subject"],
        "code": row["code"],
        "message": row["message"],
        "deadAt": row["dead_at"].isoformat(),
        "status": "retried" if row["retried_at"] else "discarded" if row["discarded_at"] else "open",
    }


async def read(request: web.Request) -> web.Response:
    """GET one with its action; where it cannot be decoded, its bytes in hex."""
    state = await who.operator(request)
    async with state.pool.acquire() as conn:
        row = await _found(conn, _id(request))
    shown = json.loads(dead.as_json(row), parse_constant=str)
    content = {"action": shown["action"]} if "action" in shown else {"bytes": shown["bytes"]}
    body = _line(row) | {"partition": row["partition"], "position": row["position"]} | content
    # Not msgspec's: the data of what died may have halves of characters, which only escapes can write.
    text = json.dumps(body, default=str)
    return web.Response(text=text, content_type="application/json", headers={"Cache-Control": "no-store"})


async def retry(request: web.Request) -> web.Response:
    """POST …/retry: through the pipe once more, under its own id. `reason`: why it was not."""
    state, one = await who.operator(request), _id(request)
    sender = Retry(state.redis, state.log, state.settings.retention_days)
    async with state.pool.acquire() as conn:
        await _found(conn, one)
        async with conn.transaction():
            done = await sender.chunk(conn, [one])
    logger.info("an operator retried a dead letter", id=str(one), sent=done.sent)
    refused = [reason for _, reason in done.refused]
    return answer.fresh({"retried": done.sent, "reason": _reason(done.sent, refused)})


async def discard(request: web.Request) -> web.Response:
    """POST …/discard: it stays, and is open no more."""
    state, one = await who.operator(request), _id(request)
    async with state.pool.acquire() as conn:
        await _found(conn, one)
        done = len(await conn.fetch(dead.QUERIES["mark_discarded"], [one]))
    logger.info("an operator discarded a dead letter", id=str(one), discarded=done)
    return answer.fresh({"discarded": done, "reason": _reason(done, [])})


async def retry_all(request: web.Request) -> web.Response:
    """POST /v1/admin/dead/retry with a filter: a part of those open at the first request, and where to go on."""
    state = await who.operator(request)
    sender = Retry(state.redis, state.log, state.settings.retention_days)

    async def send(conn: asyncpg.Connection, ids: Sequence[UUID]) -> Retried:
        async with conn.transaction():
            return await sender.chunk(conn, ids)

    done = await _many(state, request, send)
    reasons = Counter(reason for _, reason in done.total.refused).most_common(REASONS)
    logger.info("an operator retried dead letters", sent=done.total.sent, refused=len(done.total.refused))
    told = {"refused": len(done.total.refused), "reasons": [{"reason": one, "number": n} for one, n in reasons]}
    return answer.fresh({"retried": done.total.sent, **told, **done.further})


async def discard_all(request: web.Request) -> web.Response:
    """POST /v1/admin/dead/discard with a filter: a part of those open at the first request, and where to go on."""
    state = await who.operator(request)

    async def put_away(conn: asyncpg.Connection, ids: Sequence[UUID]) -> Retried:
        return Retried(len(await conn.fetch(dead.QUERIES["mark_discarded"], ids)))

    done = await _many(state, request, put_away)
    logger.info("an operator discarded dead letters", discarded=done.total.sent)
    return answer.fresh({"discarded": done.total.sent, **done.further})


class _Part(NamedTuple):
    """What one request did, and what its answer says of the rest."""

    total: Retried
    further: dict[str, Any]


async def _many(
    state: State, request: web.Request, work: Callable[[asyncpg.Connection, Sequence[UUID]], Awaitable[Retried]]
) -> _Part:
    """Chunk by chunk, each in a transaction of its own: broken off anywhere, the same cursor goes on."""
    wanted = await form.read(request, _selection)
    chosen = _filter(Filter(wanted.code, wanted.kind, wanted.family), "invalid_body")
    place, total = pages.place(wanted.cursor, Place.parse, "invalid_body"), Retried()
    async with state.pool.acquire() as conn:
        place = place or await dead_filter.begin(conn)
        async for ids in dead_filter.found(conn, chosen, place, wanted.limit):
            done = await work(conn, ids)
            total.sent += done.sent
            total.refused += done.refused
            place = Place(place.at, ids[-1])
        left = await dead_filter.left(conn, chosen, place)
    return _Part(total, {"left": left, "cursor": str(place) if left else None})


def _reason(done: int, refused: list[str]) -> str | None:
    if done:
        return None
    return refused[0] if refused else "it is not open any more: it was retried or discarded before"


async def _found(conn: asyncpg.Connection, one: UUID) -> asyncpg.Record:
    rows = await conn.fetch(dead.QUERIES["show_dead_letters"], [one])
    if not rows:
        raise _missing()
    return rows[0]


def _id(request: web.Request) -> UUID:
    return path_id.read(request, "letterId", _missing)


def _missing() -> Problem:
    return Problem("not_found", "there is no such dead letter: GET /v1/admin/dead lists them")


ROUTES: Final = (
    web.get("/v1/admin/dead", listed),
    web.post("/v1/admin/dead/retry", retry_all),
    web.post("/v1/admin/dead/discard", discard_all),
    web.get("/v1/admin/dead/{letterId}", read),
    web.post("/v1/admin/dead/{letterId}/retry", retry),
    web.post("/v1/admin/dead/{letterId}/discard", discard),
)
