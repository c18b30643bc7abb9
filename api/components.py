"""What the operations of the OpenAPI document refer to: schemas, those of all kinds with them, parameters, headers."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from api import beacons, ingest
from api.errors import CODES
from api.operations import PARAMETERS, TYPES
from api.schemas import Json, path, query
from jobs.action import Draft
from jobs.families import KINDS
from jobs.kind import Kind
from jobs.tracking.session import Session

REF: Final = "#/components/schemas/"
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


def described() -> Json:
    """All of them, by their sort and name."""
    return {
        "schemas": _schemas(),
        "parameters": _PARAMETERS | PARAMETERS,
        "headers": _HEADERS,
        "securitySchemes": _SECURITY,
    }


def ref(name: str) -> Json:
    """A schema by its name."""
    return {"$ref": REF + name}


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
    found["Interaction"]["properties"]["interaction"] = ref("InteractionRecorded")
    for name, given in found["Session"]["properties"].items():
        if name == "at" or name.endswith("At"):
            given |= {"format": "date-time"}
    names = {kind.name: _action_name(kind) for kind in KINDS.values()}
    return {
        "Action": {
            "oneOf": [ref(name) for name in names.values()],
            "discriminator": {"propertyName": "kind", "mapping": {kind: REF + name for kind, name in names.items()}},
        },
        "Batch": {
            "type": "object",
            "required": ["actions"],
            "additionalProperties": False,
            "properties": {
                "actions": {"type": "array", "minItems": 1, "maxItems": 1000, "items": ref("Action")},
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
    return {
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
            "data": ref(kind.payload.__name__),
        },
        "x-subject": next(named for draft, named in _SUBJECTS if kind.subject(draft) is not None),
    }


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
        "properties": {"rejected": {"type": "array", "items": ref("Rejection")}},
    }
    fields: dict[str, Any] = {"code": {"enum": list(CODES)}, "message": {"type": "string"}, "details": details}
    error = {"type": "object", "required": ["code", "message"], "additionalProperties": False, "properties": fields}
    errors = {"description": "The same for clients of GraphQL, on its routes.", "type": "array"}
    properties = {"error": error, "errors": errors}
    return {"type": "object", "required": ["error"], "additionalProperties": False, "properties": properties}
