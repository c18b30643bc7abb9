"""What the OpenAPI document says of one route, and the codes that routes share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

WHO: Final = ("unauthorized", "invalid_key", "invalid_token", "token_expired", "missing_scope", "keys_unavailable")
BODY: Final = ("malformed", "malformed_json", "body_timeout", "too_large", "unsupported_media_type", "invalid_body")
ACTION: Final = (
    *("invalid_action", "unknown_kind", "invalid_data", "invalid_id", "missing_subject", "bad_text", "not_finite"),
    *("too_deep", "too_many_keys", "forbidden_subject", "forbidden_kind", "unknown_action", "unknown_step"),
    *("unknown_meter", "unknown_zone"),
)
LOG: Final = ("rate_limited", "log_unavailable", "backlog_full", "family_off")
TAKES: Final = (*WHO, *BODY, *ACTION, *LOG)

BY_HEADER: Final = ("bearer", "basic")
BY_ANY: Final = (*BY_HEADER, "browserKey")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """One route: `answers` maps a status to (what it means, media type, component or schema)."""

    method: str
    path: str
    name: str
    summary: str
    answers: Mapping[int, tuple[str, str, str | Json]]
    description: str = ""
    codes: tuple[str, ...] = ()
    security: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    bodies: tuple[str, ...] = ()
    """Components that the JSON body may be."""
    lines: bool = False
    """NDJSON, too."""
    headers: tuple[str, ...] = ()
    """Headers that a successful answer may carry."""
    examples: Mapping[str, Any] | None = None


JSON: Final = "application/json"
OBJECT: Final[Json] = {"type": "object"}


def fields(properties: Json, optional: Json | None = None, **more: object) -> Json:
    """An object that has all of these, and may have the optional ones."""
    return {"type": "object", "required": list(properties), "properties": properties | (optional or {}), **more}


def listed(item: Json) -> Json:
    """An array of these."""
    return {"type": "array", "items": item}


def query(name: str, schema: Json, description: str, **more: object) -> Json:
    """A parameter of the address."""
    return {"name": name, "in": "query", "schema": schema, "description": description, **more}
