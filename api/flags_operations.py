"""The routes of api/flags.py as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api.flags import Switch
from api.governing import names
from api.operation import BODY, BY_HEADER, JSON, WHO, Operation
from api.schemas import TEXT, Json, nullable, path

_FLAGS: Final[Json] = {
    "type": "object",
    "required": ["flags"],
    "properties": {
        "flags": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["family", "enabled", "changedAt", "changedBy", "kinds"],
                "properties": {
                    "family": TEXT,
                    "enabled": {"type": "boolean"},
                    "changedAt": {"type": ["string", "null"], "format": "date-time"},
                    "changedBy": nullable(TEXT),
                    "kinds": {"type": "array", "items": TEXT},
                },
            },
        }
    },
}

OPERATIONS: Final = (
    Operation(
        *("GET", "/api/admin/flags", "listFlags", "Which families of actions are taken"),
        {200: ("Every family and every group of families.", JSON, _FLAGS)},
        codes=(*WHO, "database_unavailable"),
        security=BY_HEADER,
    ),
    Operation(
        *("PUT", "/api/admin/flags/{family}", "switchFamily", "Switch a family of actions off or on"),
        {200: ("Done; every API process follows within a second.", JSON, _FLAGS)},
        "Off: kinds that may be shed are shed and told as `shed`; the others are refused with `family_off`. What was "
        "accepted before is applied, and reads go on.",
        codes=(*WHO, *BODY, "unknown_family", "log_unavailable", "database_unavailable"),
        security=BY_HEADER,
        parameters=("Family",),
        bodies=("Switch",),
    ),
)
PARAMETERS: Final[Json] = {
    "Family": path("family", {"enum": names()}, "A family of kinds, or a group of families."),
}
TYPES: Final = (Switch,)
