"""JSON bodies of requests that are no actions: read as strictly as those."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from api import ingest
from api.errors import Problem
from jobs.action import explain

T = TypeVar("T")
_ABSENT: Final = (None, msgspec.Raw())


def given(body: msgspec.Struct, envelope: Collection[str] = ()) -> dict[str, Any]:
    """The fields that a client gave, as it names them; without those of the envelope, which are named as ours."""
    return {
        name: value
        for name, field in zip(body.__struct_encode_fields__, body.__struct_fields__, strict=True)
        if field not in envelope and (value := getattr(body, field)) not in _ABSENT
    }


async def read(request: web.Request, decoder: msgspec.json.Decoder[T]) -> T:
    """The body. Raises Problem: 415, 400 for what is no JSON, 422 with the path for JSON of another form."""
    if request.content_type not in ingest.JSON:
        raise Problem("unsupported_media_type", f"send application/json, not {request.content_type}")
    content = await ingest.read(request)
    try:
        return decoder.decode(content)
    except msgspec.ValidationError as error:
        message, path = explain(error)
        raise Problem("invalid_body", message, details={"path": path}) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem("malformed_json", "the body is no JSON") from None
