"""Erasures of an operator: `/v1/admin/erasures`, ordered here, carried out by a worker. No answer names a person."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from api import answer, form, pages, path_id, who
from api.errors import Problem
from db import log
from jobs.place import Place
from jobs.privacy import receipts

logger = log.get("erasures")
LIMIT, MOST = 50, 200


class Erase(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """Body of an order: whom to erase. It cannot be taken back."""

    user_id: str


_erase: Final = msgspec.json.Decoder(Erase)


async def ordered(request: web.Request) -> web.Response:
    """POST: erase somebody. 202 with the receipt as it stands; while one is under way, that one again."""
    state = await who.operator(request)
    wanted = await form.read(request, _erase)
    user_id = who.named(wanted.user_id, "userId")
    async with state.pool.acquire() as conn:
        found = await receipts.order(conn, user_id)
        receipt = await receipts.find(conn, found)
    logger.info("an operator ordered an erasure", id=str(found))
    return answer.fresh(receipt, {"Location": f"/v1/admin/erasures/{found}"}, 202)


async def listed(request: web.Request) -> web.Response:
    """GET ?limit=&cursor=: the receipts, the newest order first."""
    state = await who.operator(request)
    limit = pages.number(request, "limit", LIMIT, MOST)
    behind = pages.place(request.query.get("cursor"), Place.parse)
    async with state.pool.acquire() as conn:
        found, following = await receipts.page(conn, limit, behind)
    return answer.fresh({"erasures": found, "cursor": str(following) if following else None})


async def read(request: web.Request) -> web.Response:
    """GET one receipt."""
    state = await who.operator(request)
    wanted = path_id.read(request, "erasureId", _missing)
    async with state.pool.acquire() as conn:
        receipt = await receipts.find(conn, wanted)
    if receipt is None:
        raise _missing()
    return answer.fresh(receipt)


def _missing() -> Problem:
    return Problem("not_found", "there is no such erasure: GET /v1/admin/erasures lists them")


ROUTES: Final = (
    web.post("/v1/admin/erasures", ordered),
    web.get("/v1/admin/erasures", listed),
    web.get("/v1/admin/erasures/{erasureId}", read),
)
