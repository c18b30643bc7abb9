"""What is no HTTP at all: aiohttp refuses it before any handler, and says so here in our own words."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import hdrs, web, web_protocol
from aiohttp.http_exceptions import HttpProcessingError

from api import errors
from api.errors import Problem

LINGER_SECONDS: Final = 5.0
"""How long what a refused client still sends is read, so that it can read the refusal."""


def use() -> None:
    """Answer unreadable requests like every other error, and log them as what they are: somebody else's mistake."""
    web_protocol.RequestHandler.handle_error = _handle_error  # type: ignore[method-assign]


def _handle_error(
    self: web_protocol.RequestHandler,
    request: web.BaseRequest,
    status: int = 500,
    exc: BaseException | None = None,
    message: str | None = None,
) -> web.StreamResponse:
    if request.writer.output_size > 0:
        raise ConnectionError("an answer has been begun already")
    if isinstance(exc, HttpProcessingError) or status < 500:
        logging.getLogger("api").debug("unreadable request: %s", exc)
        response = errors.response(Problem("malformed", "this is no HTTP request that can be read"))
    else:
        response = errors.response(exc if isinstance(exc, Exception) else Problem("internal", "something went wrong"))
    response.headers[hdrs.CONNECTION] = "close"
    response.force_close()
    return response
