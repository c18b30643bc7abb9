"""Reads of cached models: Redis first; a miss is loaded from Postgres and kept without undoing anything newer."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import asyncpg
from aiohttp import hdrs, web

from api import waiting
from api.errors import REDIS_AWAY, Problem
from api.state import State
from db import keys, log, metrics, models, sql, stream
from db.stream import Position

_warn = log.Seldom(log.get("reads"), seconds=60)
PIPE: Final = sql.read("pipe")
AFTER_SECONDS: Final = 2.0

Load = Callable[[asyncpg.Connection], Awaitable[bytes | None]]
_hit, _miss = (metrics.Tally(metrics.CACHE.labels(result)) for result in ("hit", "miss"))


async def after(request: web.Request, state: State) -> bool:
    """Wait up to 2 s until `?after=` is applied; False when it is not yet, and the answer may be older."""
    text = request.query.get("after")
    if text is None:
        return True
    try:
        wanted = waiting.parse(text, state.log.partitions)
    except ValueError as error:
        raise Problem("invalid_position", str(error), status=400, details={"path": "after"}) from None
    return await state.waiting.applied(wanted, AFTER_SECONDS)


async def model(state: State, subject: str, name: str, load: Load) -> bytes | None:
    """The read model `name` of a subject; None when neither Redis nor Postgres has it."""
    partition = stream.partition_of(subject, state.log.partitions)
    held: bytes | None = await state.shared.get(keys.model(partition, name))
    if held:
        _hit.add()
        return held
    _miss.add()
    async with state.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        # The position of the same snapshot says how new the model is.
        position = Position(*await conn.fetchval(PIPE["position"], partition))
        body = await load(conn)
    if body is not None:
        try:
            await models.fill(state.redis, partition, position, name, body)
        except REDIS_AWAY as error:
            _warn("a model that was read is not kept", error=str(error) or type(error).__name__)
    return body


def answer(
    request: web.Request,
    body: bytes,
    reached: bool = True,
    headers: Mapping[str, str] | None = None,
    media: str = "application/json",
) -> web.Response:
    """200 with an ETag, or 304 when the client has this body; `reached`: what `after` said."""
    tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    head = {hdrs.ETAG: tag, hdrs.CACHE_CONTROL: "private, no-cache", **(headers or {})}
    if not reached:
        head["Milepost-Stale"] = "true"
    known = request.headers.get(hdrs.IF_NONE_MATCH)
    if known is not None and (known.strip() == "*" or tag in known):
        return web.Response(status=304, headers=head)
    return web.Response(body=body, headers={**head, hdrs.CONTENT_TYPE: media})
