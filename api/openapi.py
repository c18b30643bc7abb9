"""What the API says of itself: the kinds with their JSON Schema, the OpenAPI document, the page that shows it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web

from api import beacons, docs_page, ingest
from api.errors import CODES
from api.operation import JSON, Operation
from api.operations import OPERATIONS, PARAMETERS, TYPES
from api.schemas import Json, path, query
from jobs.action import Draft
from jobs.families import FAMILIES, KINDS
from jobs.kind import Kind
from jobs.tracking.session import Session

REF: Final = "#/components/schemas/"
TITLE, VERSION = "Milepost", "0.1.0"
ABOUT: Final = (
    "Post tracking, progress and usage, fire and forget; read sessions back. A 2xx means that the actions are durable. "
    'Every error is `{"error":{"code","message","details"?}}` with a stable code. Any route may also answer '
    "404 `not_found`, 405 `method_not_allowed`, and 500 `internal`."
)
_ID: Final[Json] = {
    "type": ["string", "null"],
    "minLength": 1,
    "maxLength": 128,
    "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$",
}
_SECURITY: Final[Json] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A service key (`mp_…`) or a user token (JWT)."},
    "basic": {"type": "http", "scheme": "basic", "description": "A service key as user name, any password."},
    "accessToken": {
        "type": "apiKey",
        "in": "query",
        "name": "access_token",
        "description": "A user token, for `EventSource`, which can send no header. Addresses end up in the logs of "
        "proxies: use short-lived tokens, or a client on `fetch`, which sends the header.",
    },
    "browserKey": {
        "type": "apiKey",
        "in": "query",
        "name": "key",
        "description": "A service key that may do nothing but `ingest`, for beacons of browsers.",
    },
}
_HEADERS: Final[Json] = {
    "Retry-After": {"description": "Seconds after which to send the same again.", "schema": {"type": "integer"}},
    "RateLimit-Limit": {"description": "Requests in the window, where a limit is set.", "schema": {"type": "integer"}},
    "RateLimit-Remaining": {"description": "Requests that are left in it.", "schema": {"type": "integer"}},
    "RateLimit-Reset": {"description": "Seconds until it is over.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "The challenge of RFC 6750.", "schema": {"type": "string"}},
    "Milepost-Stale": {
        "description": "`true` when the position of `after` was not reached within 2 s.",
        "schema": {"enum": ["true"]},
    },
}
_OF_STATUS: Final = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"),
    503: ("Retry-After",),
}
_PARAMETERS: Final[Json] = {
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "schema": {"type": "string"},
        "example": "wait=2",
        "description": "`wait=N` (RFC 7240): answer when the actions are applied, or after N seconds, 10 at most.",
    },
    "ContentEncoding": {
        "name": "Content-Encoding",
        "in": "header",
        "schema": {"enum": ["gzip", "deflate", "identity"]},
        "description": "How the body is compressed.",
    },
    "After": query(
        "after",
        {"type": "string", "pattern": r"^\d{1,3}\.\d{1,20}-\d{1,20}(,\d{1,3}\.\d{1,20}-\d{1,20})*$"},
        "A `position` of an earlier answer: wait up to 2 s until it is applied.",
        example="3.1763712000000-0",
    ),
    "SessionId": path(
        "sessionId", {"type": "string", "minLength": 1}, "The id that the client chose, or one of ours (`auto:…`)."
    ),
}


_SUBJECTS: Final[tuple[tuple[Draft, Json], ...]] = (
    (Draft(session_id="s-1"), {"sessionId": "s-1"}),
    (Draft(user_id="ada"), {"userId": "ada"}),
    (Draft(org_id="acme"), {"orgId": "acme"}),
    (Draft(), {}),
)
"""Examples of whose an action may be, as kinds need it."""
_EXAMPLES: Final[Json] = {
    "LimitsSet": {"action": "API_CALL", "limit": 1000},
    "AccountSet": {"zone": "Europe/Berlin", "billing": "anniversary"},
}
"""Payloads of which the smallest that the schema takes would say nothing."""


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
        "components": {
            "schemas": _schemas(),
            "parameters": _PARAMETERS | PARAMETERS,
            "headers": _HEADERS,
            "securitySchemes": _SECURITY,
        },
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
    return {"description": meaning, "headers": _headers(headers), "content": {media: {"schema": _schema(schema)}}}


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
        "content": {JSON: {"schema": {"allOf": [_schema("Error"), only]}}},
    }


def _headers(names: Iterable[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _body(operation: Operation) -> Json:
    refs = [_schema(name) for name in operation.bodies]
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
    return {"$ref": REF + given} if isinstance(given, str) else given


def _schemas() -> Json:
    types = [*(kind.payload for kind in KINDS.values()), ingest.Answer, beacons.Interaction, beacons.SaveConfig]
    _, found = msgspec.json.schema_components(
        [*types, beacons.Performance, Session, *TYPES], ref_template=REF + "{name}"
    )
    for kind in KINDS.values():
        _free(found[kind.payload.__name__], kind)
    for name, given in _EXAMPLES.items():
        found[name]["examples"] = [given]
    found["SaveConfig"]["properties"]["configuration"] = {"type": "object"}
    found["Interaction"]["properties"]["interaction"] = _schema("InteractionRecorded")
    for name, schema in found["Session"]["properties"].items():
        if name == "at" or name.endswith("At"):
            schema |= {"format": "date-time"}
    names = {kind.name: _action_name(kind) for kind in KINDS.values()}
    return {
        "Action": {
            "oneOf": [_schema(name) for name in names.values()],
            "discriminator": {"propertyName": "kind", "mapping": {kind: REF + name for kind, name in names.items()}},
        },
        "Batch": {
            "type": "object",
            "required": ["actions"],
            "additionalProperties": False,
            "properties": {
                "actions": {"type": "array", "minItems": 1, "maxItems": 1000, "items": _schema("Action")},
            },
        },
        **{_action_name(kind): _action(kind) for kind in KINDS.values()},
        **found,
        "Kinds": _listed("kinds", {"type": "object", "required": ["kind", "family", "senders", "sheddable", "data"]}),
        "Error": _error(),
    }


def _action_name(kind: Kind) -> str:
    return f"{kind.payload.__name__}Action"


def _action(kind: Kind) -> Json:
    """The envelope around the data of one kind."""
    needs_data = any(field.required for field in msgspec.structs.fields(kind.payload))
    own = dict.fromkeys(("userId", "anonymousId", "sessionId", "orgId"), _ID)
    schema: Json = {
        "type": "object",
        "title": kind.name,
        "description": (kind.payload.__doc__ or "").strip(),
        "required": ["kind", "data"] if needs_data else ["kind"],
        "additionalProperties": False,
        "properties": {
            "id": {**_ID, "description": "Yours, so that a retry counts once; else one of ours."},
            "kind": {"const": kind.name},
            "at": {"type": ["string", "null"], "format": "date-time", "description": "When it happened; else now."},
            **own,
            "data": _schema(kind.payload.__name__),
        },
        "x-subject": next(named for draft, named in _SUBJECTS if kind.subject(draft) is not None),
    }
    return schema


def _free(schema: Json, kind: Kind) -> None:
    """What is free JSON in a payload, which msgspec cannot know."""
    for name, is_object, required in kind.free:
        if is_object:
            schema["properties"][name] = {"type": "object" if required else ["object", "null"]}


def _listed(name: str, item: Json) -> Json:
    return {"type": "object", "required": [name], "properties": {name: {"type": "array", "items": item}}}


def _error() -> Json:
    details = {
        "description": "What belongs to the code: `path`, `scope`, or the refused actions as `rejected`.",
        "type": "object",
        "properties": {"rejected": {"type": "array", "items": _schema("Rejection")}},
    }
    fields: dict[str, Any] = {"code": {"enum": list(CODES)}, "message": {"type": "string"}, "details": details}
    error = {"type": "object", "required": ["code", "message"], "additionalProperties": False, "properties": fields}
    errors = {"description": "The same for clients of GraphQL, on its routes.", "type": "array"}
    properties = {"error": error, "errors": errors}
    return {"type": "object", "required": ["error"], "additionalProperties": False, "properties": properties}


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
