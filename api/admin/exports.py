"""`GET /v1/admin/export`: everything that is held of somebody, row by row, as `python -m jobs export` writes it.

Never the whole of it is in memory. What is broken off has no last line that says `end`, and its connection is cut, so
that nobody takes a part for the whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

import asyncpg
from aiohttp import hdrs, web

from api import errors, who
from api.errors import Problem
from api.state import State
from db import connect, log
from jobs.privacy import export

logger = log.get("exports")
PART: Final = 64 * 1024
"""Bytes that are sent at once."""
AT_ONCE: Final = 2
"""In one process: each holds a snapshot of the database open until its end."""
SLOW_SECONDS: Final = 30.0
"""Who takes none of a part for so long is cut off."""
WHOLE_SECONDS: Final = 3600.0
"""For all of it, however slowly it is taken: while a snapshot is open, Postgres clears nothing away."""
READ_SECONDS: Final = 600.0
"""For what is sent at once: a table without an index for it is read as a whole."""
HEADERS: Final = {
    hdrs.CONTENT_TYPE: "application/x-ndjson",
    hdrs.CACHE_CONTROL: "no-store",
    hdrs.CONTENT_DISPOSITION: 'attachment; filename="export.ndjson"',
}
PLACES: Final = web.AppKey("exports", asyncio.Semaphore)


async def lifetime(app: web.Application) -> AsyncIterator[None]:
    """From the application's start to its end."""
    app[PLACES] = asyncio.Semaphore(AT_ONCE)
    yield


async def exported(request: web.Request) -> web.StreamResponse:
    """GET ?userId= or ?orgId=: a line of JSON for each row, and a last one that says how many there are."""
    state = await who.operator(request)
    user_id, org_id = (_given(request, name) for name in ("userId", "orgId"))
    if (user_id is None) == (org_id is None):
        raise errors.parameter("userId", "name one: userId or orgId")
    places = request.app[PLACES]
    if places.locked():
        raise Problem("busy", f"{AT_ONCE} exports are being written: try again in a moment")
    async with places:
        conn = await connect.postgres(state.settings.database_url, "milepost-export")
        try:
            return await _write(request, state, conn, user_id, org_id)
        finally:
            conn.terminate()


def _given(request: web.Request, name: str) -> str | None:
    found = request.query.get(name)
    return None if found is None else who.named(found, name)


async def _write(
    request: web.Request, state: State, conn: asyncpg.Connection, user_id: str | None, org_id: str | None
) -> web.StreamResponse:
    """A fault before the first part is an answer like any other; behind it there is only the connection to tell by."""
    response, is_whole = web.StreamResponse(headers=HEADERS), False
    try:
        async with asyncio.timeout(WHOLE_SECONDS), aclosing(_parts(state, conn, user_id, org_id)) as parts:
            while part := await asyncio.wait_for(anext(parts, b""), READ_SECONDS):
                async with asyncio.timeout(SLOW_SECONDS):
                    if not response.prepared:
                        await response.prepare(request)
                    await response.write(part)
        is_whole = True
    except Exception as error:
        if not response.prepared:
            raise
        # Not its words: those of Postgres may name a row.
        logger.warning("an export was broken off", error=type(error).__name__)
    finally:
        if response.prepared and not is_whole and request.transport is not None:
            request.transport.abort()
    if is_whole:
        logger.info("an operator exported somebody")
    return response


async def _parts(
    state: State, conn: asyncpg.Connection, user_id: str | None, org_id: str | None
) -> AsyncGenerator[bytes, None]:
    held: list[bytes] = []
    size = 0
    async with aclosing(export.lines(conn, state.redis, user_id, org_id, SLOW_SECONDS)) as lines:
        async for _, line in lines:
            held.append(line.encode())
            size += len(held[-1]) + 1
            if size >= PART:
                yield b"\n".join([*held, b""])
                held.clear()
                size = 0
    yield b"\n".join([*held, b""])


# Not for HEAD: aiohttp would send the rows behind its head, where the next answer of a connection is read.
ROUTES: Final = (web.get("/v1/admin/export", exported, allow_head=False),)
