"""A small application around one piece of the API: real HTTP, errors as the application answers them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import Handler

from api import errors

Client = TestClient[web.Request, web.Application]


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What the application's own middleware does with an exception."""
    try:
        return await handler(request)
    except Exception as error:  # noqa: BLE001 the edge
        return errors.response(error)


@asynccontextmanager
async def door(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[Client]:
    """A client of a server whose only route, `/` by GET and POST, is this handler."""
    app = web.Application(middlewares=[answer_errors], client_max_size=1000)
    app.router.add_get("/", handler)
    app.router.add_post("/", handler)
    async with TestClient(TestServer(app)) as client:
        yield client
