"""Diagrams, uploaded and read. Who it is stands in the header X-User, where a real service has a login."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from milepost_client import Client, Guard, Subject
from milepost_client.handlers import metered
from milepost_client.hold import Outage

NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
FILES: Final = web.AppKey("files", Path)
MILEPOST: Final = web.AppKey("milepost", Client)


def user(request: web.Request) -> Subject:
    """Who asks. Raises 401."""
    name = request.headers.get("X-User")
    if not name:
        raise web.HTTPUnauthorized(text="say who you are: X-User\n")
    return Subject(user_id=name)


async def upload(request: web.Request) -> web.Response:
    """PUT /diagrams/{name}: the body becomes the diagram; 201, and 422 when it is empty."""
    path = _path(request)
    part = path.with_suffix(f".{secrets.token_hex(4)}.part")
    try:
        size = await _store(request, part)
        if not size:
            raise web.HTTPUnprocessableEntity(text="an empty diagram\n")
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    request.app[MILEPOST].record("STORAGE_BYTES", user(request), size, resourceId=path.name)
    return web.json_response({"name": path.name, "bytes": size}, status=201)


async def read(request: web.Request) -> web.FileResponse:
    """GET /diagrams/{name}; tracked, which costs no time and can stop nobody."""
    path = _path(request)
    if not path.is_file():
        raise web.HTTPNotFound
    request.app[MILEPOST].record("PROCEDURE_VIEW", user(request), resourceId=path.name)
    return web.FileResponse(path)


def _path(request: web.Request) -> Path:
    name = request.match_info["name"]
    if NAME.fullmatch(name) is None:
        raise web.HTTPUnprocessableEntity(text="a name is up to 64 letters, digits, and _ - .\n")
    return request.app[FILES] / name


async def _store(request: web.Request, path: Path) -> int:
    size = 0
    with path.open("xb") as file:
        async for chunk in request.content.iter_chunked(1 << 16):
            size += file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return size


def make(
    url: str, key: str, files: Path, spool: Path, outage: Outage = "open", timeout: float = 1.0, **options: Any
) -> web.Application:
    """The application. `outage`: what uploads do when Milepost has not decided after `timeout` seconds.

    `options` are the client's.
    """
    app = web.Application(client_max_size=200 << 20)
    files.mkdir(parents=True, exist_ok=True)
    app[FILES] = files

    client = Client(url, key, spool, **options)
    app[MILEPOST] = client

    async def lifetime(_: web.Application) -> AsyncIterator[None]:
        async with client:
            yield

    app.cleanup_ctx.append(lifetime)
    guarded = metered(Guard(client, outage=outage, timeout=timeout), "DIAGRAM_UPLOAD", user)(upload)
    app.add_routes([web.put("/diagrams/{name}", guarded), web.get("/diagrams/{name}", read)])
    return app
