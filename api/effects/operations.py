"""The routes of api/effects/routes.py as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api.effects.routes import DISCARDED, RETRIED, Selection
from api.operation import ADMIN, BODY, BY_HEADER, JSON, Operation
from api.schemas import TEXT, Json, nullable, path, query
from jobs.effects.history import OneEffect

_LIST: Final[Json] = {
    "type": "object",
    "required": ["effects", "cursor"],
    "properties": {
        "effects": {"type": "array", "items": {"$ref": "#/components/schemas/OneEffect"}},
        "cursor": nullable(TEXT),
    },
}


def _done(name: str) -> Json:
    return {
        "type": "object",
        "required": [name, "refused"],
        "properties": {name: {"type": "integer"}, "refused": {"type": "integer"}},
    }


_ONE: Final = (*ADMIN, "not_found")

OPERATIONS: Final = (
    Operation(
        *("GET", "/v1/admin/effects", "listEffects", "What left the house, or waits to"),
        {200: ("Newest first, each with its deliveries; `cursor` leads to the next page.", JSON, _LIST)},
        codes=(*ADMIN, "invalid_parameter"),
        security=BY_HEADER,
        parameters=("Status", "EffectType", "ToDestination", "Limit", "Cursor"),
    ),
    Operation(
        *("GET", "/v1/admin/effects/{effectId}", "readEffect", "One effect"),
        {200: ("With its deliveries and every attempt.", JSON, "OneEffect")},
        codes=_ONE,
        security=BY_HEADER,
        parameters=("EffectId",),
    ),
    Operation(
        *("POST", "/v1/admin/effects/{effectId}/retry", "retryEffect", "Deliver an effect again"),
        {200: ("How many deliveries go again; not those of disabled destinations.", JSON, _done("retried"))},
        f"Its deliveries that are {', '.join(RETRIED)}. What was delivered stays so.",
        codes=_ONE,
        security=BY_HEADER,
        parameters=("EffectId",),
    ),
    Operation(
        *("POST", "/v1/admin/effects/{effectId}/discard", "discardEffect", "Put an effect away"),
        {200: ("How many deliveries were put away.", JSON, _done("discarded"))},
        f"Its deliveries that are {' or '.join(DISCARDED)}.",
        codes=_ONE,
        security=BY_HEADER,
        parameters=("EffectId",),
    ),
    Operation(
        *("POST", "/v1/admin/effects/retry", "retryEffects", "Deliver effects again, by filter"),
        {200: ("How many deliveries go again; not those of disabled destinations.", JSON, _done("retried"))},
        f"Those that are dead, unless `status` says otherwise: {', '.join(RETRIED)}.",
        codes=(*ADMIN, *BODY),
        security=BY_HEADER,
        bodies=("Selection",),
    ),
    Operation(
        *("POST", "/v1/admin/effects/discard", "discardEffects", "Put effects away, by filter"),
        {200: ("How many deliveries were put away.", JSON, _done("discarded"))},
        f"Those that are dead, unless `status` says otherwise: {', '.join(DISCARDED)}.",
        codes=(*ADMIN, *BODY),
        security=BY_HEADER,
        bodies=("Selection",),
    ),
)
PARAMETERS: Final[Json] = {
    "EffectId": path(
        "effectId",
        {"type": "string", "pattern": "^msg_[a-z0-9]{1,60}$"},
        "The id of an effect: what receivers see as `webhook-id`.",
    ),
    "EffectType": query(
        "type",
        {"type": "string", "pattern": r"^[A-Za-z0-9_.:-]{0,99}[A-Za-z0-9_*]$"},
        "Those of this type only; a trailing `*` stands for any rest.",
        example="certificate.issued",
    ),
    "ToDestination": query("destination", {"type": "string", "format": "uuid"}, "Those to this destination only."),
}
TYPES: Final = (Selection, OneEffect)
