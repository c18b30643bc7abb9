"""JSON bodies of requests that are no actions: read as strictly as those."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec
from aiohttp import web

from api import ingest
from api.errors import Problem
from jobs.action import explain

T = TypeVar("T")
_MEDIA: Final = frozenset(("application/json", "text/plain", "application/octet-stream", ""))


async def read(request: web.Request, decoder: msgspec.json.Decoder[T]) -> T:
    """The body. Raises Problem: 415, 400 for what is no JSON, 422 with the path for JSON of another form."""
    if request.content_type not in _MEDIA:
        raise Problem("unsupported_media_type", f"send application/json, not {request.content_type}")
    content = await ingest.read(request)
    try:
        return decoder.decode(content)
    except msgspec.ValidationError as error:
        message, path = explain(error)
        raise Problem("invalid_body", message, details={"path": path}) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem("malformed_json", "the body is no JSON") from None
