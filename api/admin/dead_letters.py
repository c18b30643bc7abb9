"""Dead letters of an operator: `/v1/admin/dead`, looked at, retried, discarded. Thin over jobs/dead.py."""

from __future__ import annotations

import json
from typing import Any, Final
from uuid import UUID

import asyncpg
from aiohttp import web

from api import pages
from api.admin.overviews import QUERIES, answer, operator
from api.errors import Problem
from db import log
from jobs import dead
from jobs.dead import Retry

logger = log.get("dead_letters")
LIMIT, MOST = 50, 200
STATUSES: Final = ("open", "all")


async def listed(request: web.Request) -> web.Response:
    """GET ?status=open|all&code=&limit=: newest first, and how many are open of each code."""
    state = await operator(request)
    status, code = request.query.get("status", "open"), request.query.get("code")
    if status not in STATUSES:
        raise _wrong("status", f"status is one of {', '.join(STATUSES)}")
    if code is not None and "\0" in code:
        raise _wrong("code", "code is the code of an error")
    limit = pages.number(request, "limit", LIMIT, MOST)
    async with state.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        rows = await conn.fetch(QUERIES["dead_letters"], status == "all", code, limit)
        codes = await conn.fetch(dead.QUERIES["dead_letter_codes"])
    return answer({"letters": [_line(row) for row in rows], "codes": [dict(row) for row in codes]})


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
    state = await operator(request)
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
    state, one = await operator(request), _id(request)
    sender = Retry(state.redis, state.log, state.settings.retention_days)
    async with state.pool.acquire() as conn:
        await _found(conn, one)
        async with conn.transaction():
            done = await sender.chunk(conn, [one])
    logger.info("an operator retried a dead letter", id=str(one), sent=done.sent)
    refused = [reason for _, reason in done.refused]
    return answer({"retried": done.sent, "reason": _reason(done.sent, refused)})


async def discard(request: web.Request) -> web.Response:
    """POST …/discard: it stays, and is open no more."""
    state, one = await operator(request), _id(request)
    async with state.pool.acquire() as conn:
        await _found(conn, one)
        done = len(await conn.fetch(dead.QUERIES["mark_discarded"], [one]))
    logger.info("an operator discarded a dead letter", id=str(one), discarded=done)
    return answer({"discarded": done, "reason": _reason(done, [])})


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
    try:
        return UUID(request.match_info["letterId"])
    except ValueError:
        raise _missing() from None


def _missing() -> Problem:
    return Problem("not_found", "there is no such dead letter: GET /v1/admin/dead lists them")


def _wrong(name: str, message: str) -> Problem:
    return Problem("invalid_parameter", message, details={"path": name})


ROUTES: Final = (
    web.get("/v1/admin/dead", listed),
    web.get("/v1/admin/dead/{letterId}", read),
    web.post("/v1/admin/dead/{letterId}/retry", retry),
    web.post("/v1/admin/dead/{letterId}/discard", discard),
)
