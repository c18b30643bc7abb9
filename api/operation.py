"""What the OpenAPI document says of one route, and the codes that routes share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from api.schemas import Json

WHO: Final = ("unauthorized", "invalid_key", "invalid_token", "token_expired", "missing_scope", "keys_unavailable")
BODY: Final = ("malformed", "malformed_json", "body_timeout", "too_large", "unsupported_media_type", "invalid_body")
ACTION: Final = (
    *("invalid_action", "unknown_kind", "invalid_data", "invalid_id", "missing_subject", "bad_text", "not_finite"),
    *("too_deep", "too_many_keys", "forbidden_subject", "forbidden_kind", "unknown_action", "unknown_step"),
    *("unknown_meter", "unknown_zone"),
)
LOG: Final = ("rate_limited", "log_unavailable", "backlog_full", "family_off")
TAKES: Final = (*WHO, *BODY, *ACTION, *LOG)
UPDATES: Final = (*TAKES, "id_reused", "erased", "invalid_parameter", "database_unavailable")
READS: Final = (
    *(*WHO, "forbidden_subject", "missing_subject", "invalid_id", "invalid_position", "rate_limited"),
    *("log_unavailable", "database_unavailable"),
)
ADMIN: Final = (*WHO, "database_unavailable")
"""Of routes that send one action and wait for its outcome; that read of one's own; that operators read."""
LIMITS: Final = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
"""Headers of answers to requests that are counted."""
TWICE: Final = "The same `id` again gets the first answer again."

JSON: Final = "application/json"
BY_HEADER: Final = ("bearer", "basic")
BY_ANY: Final = (*BY_HEADER, "browserKey")


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
