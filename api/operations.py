"""The routes as the OpenAPI document tells them: one entry each. A test compares them with those of api/app.py.

The files named in `_MODULES` have OPERATIONS, and may have PARAMETERS and TYPES: what their entries name.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

from api import flags_operations
from api.admin import erasures_operations
from api.admin import operations as admin_operations
from api.analytics import operations as analytics_operations
from api.certificates import operations as certificates_operations
from api.courses import operations as courses_operations
from api.courses import progress_operations
from api.demo import operations as demo_operations
from api.effects import operations as effects_operations
from api.effects import webhooks_operations
from api.graph import operations as graph_operations
from api.live import operations as live_operations
from api.onboarding import operations as onboarding_operations
from api.operation import BY_ANY, BY_HEADER, JSON, LIMITS, TAKES, WHO, Operation
from api.referrals import operations as referrals_operations
from api.schemas import OBJECT, TEXT, Json
from api.usage import accounts_operations, reports_operations
from api.usage import operations as usage_operations

_TAKEN: Final = {
    202: ("Durable; it will be applied.", JSON, "Answer"),
    200: ("Applied within the seconds of `Prefer: wait`; `results` has the outcomes.", JSON, "Answer"),
}
_STATUS: Final[Json] = {"type": "object", "required": ["status"], "properties": {"status": TEXT}}
_READY: Final[Json] = {
    "type": "object",
    "required": ["status", "checks"],
    "properties": {
        "status": {"enum": ["ready", "not ready"]},
        "checks": {"type": "object", "additionalProperties": {"type": "boolean"}},
    },
}
_CLICK: Final[Json] = {"eventType": "click", "category": "frame", "elementId": "frame-oak", "timeSpent": 1840}
_BEACON: Final = "`navigator.sendBeacon` may send it as `text/plain`, with the key in the address."


def _of_one_kind(path: str, name: str, summary: str, body: str, examples: Json) -> Operation:
    return Operation(
        *("POST", path, name, summary),
        _TAKEN,
        _BEACON,
        codes=TAKES,
        security=BY_ANY,
        parameters=("Prefer", "ContentEncoding"),
        bodies=(body,),
        headers=LIMITS,
        examples=examples,
    )


_OWN: Final = (
    Operation(
        *("POST", "/v1/actions", "sendActions", "Send actions: one, a batch, or NDJSON"),
        _TAKEN,
        "Good actions go in although others of the request are refused; each refused one is named by its index and id. "
        "Send the same again, with the same ids, after a time-out, a 429 or a 503: what is in already counts once. "
        "1,000 actions and 20 MiB (unpacked) are the limits of one request. " + _BEACON,
        codes=(*TAKES, "empty_batch", "too_many_actions"),
        security=BY_ANY,
        parameters=("Prefer", "ContentEncoding"),
        bodies=("Action", "Batch"),
        lines=True,
        headers=LIMITS,
        examples={
            "one": {"kind": "interaction.recorded", "sessionId": "s-1", "data": _CLICK},
            "batch": {
                "actions": [
                    {"id": "a-1", "kind": "page.viewed", "sessionId": "s-1", "data": {"path": "/frames"}},
                    {"id": "a-2", "kind": "interaction.recorded", "sessionId": "s-1", "data": _CLICK},
                ]
            },
        },
    ),
    Operation(
        *("GET", "/v1/kinds", "listKinds", "The kinds of actions"),
        {200: ("Each with its family, who may send it, and the JSON Schema of its data.", JSON, "Kinds")},
    ),
    Operation(
        *("GET", "/v1/sessions/{sessionId}", "readSession", "One session as it stands"),
        {200: ("The session.", JSON, "Session")},
        "A user token reads its own sessions; of any other it learns nothing, not even whether it exists.",
        codes=(*WHO, "invalid_position", "forbidden_subject", "not_found", "log_unavailable", "database_unavailable"),
        security=BY_HEADER,
        parameters=("SessionId", "After"),
        headers=("Milepost-Stale",),
    ),
    _of_one_kind(
        *("/api/sessions/track-interaction", "trackInteraction", "Record an interaction of a session", "Interaction"),
        {"click": {"sessionId": "s-1", "interaction": _CLICK}},
    ),
    _of_one_kind(
        *("/api/sessions/save-config", "saveConfig", "Save what the user has put together", "SaveConfig"),
        {"snapshot": {"sessionId": "s-1", "configuration": {"frame": "oak"}, "trigger": "auto_save", "totalPrice": 99}},
    ),
    _of_one_kind(
        *("/api/performance/track", "trackPerformance", "Record a measurement", "Performance"),
        {"measurement": {"metricName": "first_paint", "value": 312.5, "sessionId": "s-1"}},
    ),
    Operation(
        *("GET", "/openapi.json", "readOpenapi", "This document"),
        {200: ("OpenAPI 3.1.", JSON, OBJECT)},
    ),
    Operation(
        *("GET", "/docs", "readDocs", "This document for people"),
        {200: ("One page, without scripts and without anything from elsewhere.", "text/html", TEXT)},
    ),
    Operation(
        *("GET", "/", "readRoot", "From the address alone to this document"),
        {302: ("It is at `/docs`.", "text/plain", TEXT)},
    ),
    Operation(
        *("GET", "/livez", "live", "Whether the process answers"),
        {200: ("It does.", JSON, _STATUS)},
    ),
    Operation(
        *("GET", "/readyz", "ready", "Whether actions are taken and applied"),
        {200: ("They are.", JSON, _READY), 503: ("`checks` says what is missing.", JSON, _READY)},
    ),
    Operation(
        *("GET", "/metrics", "readMetrics", "Figures for Prometheus"),
        {200: ("The text format of Prometheus.", "text/plain", TEXT)},
    ),
)

_MODULES: Final[Sequence[ModuleType]] = (
    onboarding_operations,
    referrals_operations,
    live_operations,
    flags_operations,
    certificates_operations,
    progress_operations,
    courses_operations,
    graph_operations,
    webhooks_operations,
    effects_operations,
    analytics_operations,
    usage_operations,
    accounts_operations,
    reports_operations,
    admin_operations,
    erasures_operations,
    demo_operations,
)
OPERATIONS: Final[tuple[Operation, ...]] = (*_OWN, *(one for module in _MODULES for one in module.OPERATIONS))
PARAMETERS: Final[Json] = {
    name: parameter for module in _MODULES for name, parameter in getattr(module, "PARAMETERS", {}).items()
}
"""Parameters beside those of api/components.py, by the name that operations give them."""
TYPES: Final[tuple[type[Any], ...]] = tuple(one for module in _MODULES for one in getattr(module, "TYPES", ()))
"""Structs of bodies and answers, whose names operations give."""
