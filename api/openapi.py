"""What the API says of itself: the kinds with their JSON Schema, the OpenAPI document, the page that shows it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Final

import msgspec
from aiohttp import hdrs, web

from api import components, docs_page
from api.errors import CODES
from api.operation import JSON, Operation
from api.operations import OPERATIONS
from api.schemas import Json
from jobs.families import FAMILIES

TITLE, VERSION = "Milepost", "0.1.0"
ABOUT: Final = (
    "Post tracking, progress and usage, fire and forget; read them and what they add up to. A 2xx means that the "
    'actions are durable. Every error is `{"error":{"code","message","details"?}}` with a stable code. Any '
    "route may also answer 404 `not_found`, 405 `method_not_allowed`, and 500 `internal`."
)
_OF_STATUS: Final = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
    503: ("Retry-After",),
}


@cache
def _kinds() -> bytes:
    listed = [
        {
            "kind": kind.name,
            "family": family.name,
            "senders": sorted(kind.senders),
            "sheddable": kind.sheddable,
            "description": (kind.payload.__doc__ or "").strip(),
            "data": msgspec.json.schema(kind.payload),
        }
        for family in FAMILIES
        for kind in family.kinds
    ]
    return msgspec.json.encode({"kinds": listed})


@cache
def described() -> Json:
    """The OpenAPI document."""
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": VERSION, "description": ABOUT},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": components.described(),
    }


def _operation(operation: Operation) -> Json:
    found: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "security": [{name: []} for name in operation.security],
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in operation.parameters],
        "responses": {
            **{str(status): _answer(operation, status) for status in sorted(operation.answers)},
            **_refusals(operation.codes),
        },
    }
    if operation.bodies:
        found["requestBody"] = _body(operation)
    return found


def _answer(operation: Operation, status: int) -> Json:
    meaning, media, schema = operation.answers[status]
    headers = operation.headers if status < 300 else _OF_STATUS.get(status, ())
    return {
        "description": meaning,
        "headers": _headers(headers),
        "content": {media: {"schema": _schema(schema)}},
    }


def _refusals(codes: Iterable[str]) -> Json:
    """One answer for each status, naming the codes that it may carry."""
    by_status: dict[int, list[str]] = {}
    for code in codes:
        for status in (CODES[code][0], 422) if code in {"too_deep", "too_large"} else (CODES[code][0],):
            by_status.setdefault(status, []).append(code)
    return {str(status): _refusal(status, by_status[status]) for status in sorted(by_status)}


def _refusal(status: int, codes: list[str]) -> Json:
    only = {"properties": {"error": {"properties": {"code": {"enum": codes}}}}}
    return {
        "description": "  \n".join(f"`{code}`: {CODES[code][1]}" for code in codes),
        "headers": _headers(_OF_STATUS.get(status, ())),
        "content": {JSON: {"schema": {"allOf": [components.ref("Error"), only]}}},
    }


def _headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _body(operation: Operation) -> Json:
    refs = [components.ref(name) for name in operation.bodies]
    text: Json = {"schema": {"type": "string"}}
    content: Json = {
        JSON: {
            "schema": refs[0] if len(refs) == 1 else {"anyOf": refs},
            "examples": {name: {"value": value} for name, value in (operation.examples or {}).items()},
        },
        "text/plain": {**text, "example": "The same JSON, as `navigator.sendBeacon` sends it."},
    }
    if operation.lines:
        content["application/x-ndjson"] = {**text, "example": "One action a line."}
    return {"required": True, "content": content}


def _schema(given: str | Json) -> Json:
    return components.ref(given) if isinstance(given, str) else given


async def kinds(_: web.Request) -> web.Response:
    """GET /v1/kinds: every kind, who may send it, and the JSON Schema of its data."""
    return web.Response(body=_kinds(), content_type="application/json")


async def document(_: web.Request) -> web.Response:
    """GET /openapi.json."""
    return web.Response(body=_document(), content_type="application/json")


async def page(_: web.Request) -> web.Response:
    """GET /docs: the same for people; nothing on it comes from elsewhere, and nothing on it runs."""
    return web.Response(body=_page(), content_type="text/html", charset="utf-8", headers=_PAGE_HEADERS)


@cache
def _document() -> bytes:
    return msgspec.json.encode(described())


@cache
def _page() -> bytes:
    return docs_page.render(described()).encode()


_STYLE: Final = base64.b64encode(hashlib.sha256(docs_page.STYLE.encode()).digest()).decode()
_PAGE_HEADERS: Final[dict[str, str]] = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    hdrs.CACHE_CONTROL: "no-cache",
}
