"""The guard around handlers of aiohttp."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from milepost_client.client import Subject
from milepost_client.hold import Away, Denied, Guard, Held

HELD: Final = web.RequestKey("milepost.held", Held)
"""`request[HELD]` is what a handler holds."""


def metered(
    guard: Guard,
    action: str,
    subject: Callable[[web.Request], Subject],
    *,
    quantity: int = 1,
    ttl: int = 300,
    metadata: dict[str, Any] | None = None,
) -> Callable[[Handler], Handler]:
    """Hold before the handler, commit when it answers below 400, release when it raises, answers 400 or more, or is
    cancelled. The size of the body, when Content-Length says it, is held against the plan's largest file, unread.

    A handler that knows better says `request[HELD].commit(3)` itself, with no more than was held.
    """

    def around(handler: Handler) -> Handler:
        @wraps(handler)
        async def guarded(request: web.Request) -> web.StreamResponse:
            whose, size = subject(request), request.content_length
            try:
                held = await guard.hold(action, whose, quantity, ttl=ttl, file_size=size, metadata=metadata)
            except Denied as denied:
                return web.Response(status=denied.status, body=denied.body, content_type="application/json")
            except Away as away:
                headers = {"Retry-After": "2"}
                return web.Response(
                    status=away.status, body=away.body, content_type="application/json", headers=headers
                )
            request[HELD] = held
            return await _run(handler, request, held)

        return guarded

    return around


async def _run(handler: Handler, request: web.Request, held: Held) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPException as answer:  # also a redirect is raised
        _end(held, answer.status)
        raise
    except BaseException:
        held.release()
        raise
    _end(held, response.status)
    return response


def _end(held: Held, status: int) -> None:
    if status < 400:
        held.commit()
    else:
        held.release()
