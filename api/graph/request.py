"""GraphQL over HTTP: what a request asks, and in which media type it wants the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web

from api import ingest
from api.errors import Problem

JSON: Final = "application/json"
RESPONSE: Final = "application/graphql-response+json"
HTML: Final = "text/html"
MAX_BYTES: Final = 256 * 1024
_RANGE: Final = re.compile(r"\s*([\w!#$&^.+*-]+/[\w!#$&^.+*-]+)\s*((?:;[^,]*)?)", re.ASCII)
_QUALITY: Final = re.compile(r";\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*(?:;|$)", re.IGNORECASE)


class GraphqlRequest(msgspec.Struct, rename="camel"):
    """The parameters of a request; what else is in it is passed over."""

    query: str | None = None
    operation_name: str | None = None
    variables: dict[str, Any] | None = None
    extensions: dict[str, Any] | None = None


_decode: Final = msgspec.json.Decoder(GraphqlRequest).decode


def media(request: web.Request) -> str:
    """The media type of the answer. Raises Problem 406 when neither is accepted."""
    chosen = _chosen(_accept(request))
    if chosen is None:
        raise Problem("not_acceptable", f"answers are {RESPONSE} or {JSON}")
    return chosen


def _accept(request: web.Request) -> str:
    return ",".join(request.headers.getall(hdrs.ACCEPT, ()))[:1000]


@lru_cache(maxsize=256)
def _chosen(accept: str) -> str | None:
    weights = _weights(accept)
    if not weights:
        return JSON
    best = max((RESPONSE, JSON), key=lambda one: (_weight(weights, one), one in weights and one == RESPONSE))
    best = JSON if _weight(weights, best) == _weight(weights, JSON) and RESPONSE not in weights else best
    return best if _weight(weights, best) > 0 else None


def wants_page(request: web.Request) -> bool:
    """Whether a browser asks for something to look at."""
    weights = _weights(_accept(request))
    own = weights.get(HTML, 0.0)
    return own > 0 and own >= max(weights.get(JSON, 0.0), weights.get(RESPONSE, 0.0))


def _weights(accept: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in accept.split(","):
        one = _RANGE.fullmatch(part)
        if one is not None:
            quality = _QUALITY.search(one[2])
            found[one[1].lower()] = min(1.0, float(quality[1])) if quality else 1.0
    return found


def _weight(weights: Mapping[str, float], media_type: str) -> float:
    for one in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if one in weights:
            return weights[one]
    return 0.0


async def of_body(request: web.Request) -> GraphqlRequest:
    """A POST. Raises Problem: 415, 413, and 400 for what is no request."""
    charset = (request.charset or "utf-8").lower()
    if request.headers.get(hdrs.CONTENT_TYPE) is None or request.content_type != JSON or charset != "utf-8":
        raise Problem("unsupported_media_type", f"send {JSON} in UTF-8")
    _check_size(request.content_length or 0)
    content = await ingest.read(request)
    _check_size(len(content))
    return _asked(content)


async def of_address(request: web.Request) -> GraphqlRequest:
    """A GET, with its parameters in the address. Raises Problem 400."""
    given = request.query
    parts: dict[str, Any] = {name: given[name] for name in ("query", "operationName") if name in given}
    for name in ("variables", "extensions"):
        if given.get(name):
            try:
                parts[name] = msgspec.json.decode(given[name].encode())
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                raise _no_request(f"{name} is no JSON") from None
    try:
        return _checked(msgspec.convert(parts, GraphqlRequest))
    except msgspec.ValidationError as error:
        raise _no_request(str(error)) from None


def _asked(content: bytes) -> GraphqlRequest:
    try:
        return _checked(_decode(content))
    except msgspec.ValidationError as error:
        if content.lstrip()[:1] == b"[":
            raise _no_request("batches are not taken: send one operation in each request") from None
        raise _no_request(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Problem("malformed_json", "the body is no JSON") from None


def _checked(asked: GraphqlRequest) -> GraphqlRequest:
    if asked.query is None:
        raise _no_request("the parameter query is missing")
    return asked


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise Problem("too_large", f"a GraphQL request of {size} bytes; {MAX_BYTES} are the limit")


def _no_request(message: str) -> Problem:
    return Problem("graphql_request", message)
