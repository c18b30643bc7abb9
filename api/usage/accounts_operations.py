"""The routes of api/usage/accounts.py as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api.operation import ACTION, BY_HEADER, JSON, LOG, TWICE, UPDATES, WHO, Operation
from api.schemas import COUNT, TEXT, TIME, Json, fields, later, nullable, path
from api.usage.accounts import Adjustment, SubjectAccount, SubjectLimit, SubjectPlan
from api.usage.operations import SHOWN

_BY: Final[Json] = {"subject": TEXT, "id": TEXT}
_LATER: Final = later(id=TEXT)
_LIMIT: Final[Json] = {"limit": nullable(COUNT), "hard": {"type": "boolean"}, "overageCap": nullable(COUNT)}
_PLAN: Final = fields(
    {"plan": TEXT, "previousPlan": TEXT, "nextPlan": nullable(TEXT), "nextPlanAt": nullable(TIME), **_BY}
)
_SET: Final = fields({"action": TEXT, "limit": nullable(COUNT), "removed": {"type": "boolean"}, **_BY})
_BILLED: Final[Json] = {"zone": TEXT, "billing": {"enum": ["calendar", "anniversary"]}, "day": COUNT}
_ACCOUNT: Final = fields({**_BILLED, "effectiveAt": TIME, "periodStart": TIME, "periodEnd": TIME, **_BY})
_ADJUSTED: Final = fields(
    {"action": TEXT, "quantity": {"type": "integer"}, "used": COUNT, "revision": COUNT, "periodStart": TIME, **_BY}
)
_READ: Final = fields(
    {
        "subject": TEXT,
        **SHOWN,
        "overrides": {"type": "object", "additionalProperties": {"type": "object", "properties": _LIMIT}},
        "account": fields({**_BILLED, "since": nullable(TIME)}),
    }
)
_READS: Final = (*WHO, "invalid_id", "invalid_position", "log_unavailable", "database_unavailable")
_WITH: Final = ("OfSubject", "Wait", "Prefer", "IdempotencyKey", "ContentEncoding")

OPERATIONS: Final = (
    Operation(
        *("GET", "/v1/admin/subjects/{subject}", "readSubject", "One subject as operators see it"),
        {200: ("Its usage, its own limits, zone and billing; with an ETag.", JSON, _READ)},
        codes=_READS,
        security=BY_HEADER,
        parameters=("OfSubject", "After"),
        headers=("Milepost-Stale",),
    ),
    Operation(
        *("POST", "/v1/admin/subjects/{subject}/plan", "setSubjectPlan", "Put a subject on a plan"),
        {200: ("The plan now, before, and to come.", JSON, _PLAN), 202: _LATER},
        "A plan of a higher rank holds at once, one of a lower rank when the period ends, unless `effectiveAt` says "
        f"otherwise. What was used, and the boundaries of the period, stay. {TWICE}",
        codes=(*UPDATES, "unknown_plan"),
        security=BY_HEADER,
        parameters=_WITH,
        bodies=("SubjectPlan",),
        examples={"upgrade": {"plan": "PROFESSIONAL"}},
    ),
    Operation(
        *(
            "PUT",
            "/v1/admin/subjects/{subject}/limits/{action}",
            "setSubjectLimit",
            "Give a subject a limit of its own",
        ),
        {200: ("The limit.", JSON, _SET), 202: _LATER},
        f"In the place of the plan's, whatever plan comes. {TWICE}",
        codes=UPDATES,
        security=BY_HEADER,
        parameters=("OfMeter", *_WITH),
        bodies=("SubjectLimit",),
        examples={"soft": {"limit": 1000, "hard": False, "overageCap": 200}},
    ),
    Operation(
        *(
            "DELETE",
            "/v1/admin/subjects/{subject}/limits/{action}",
            "removeSubjectLimit",
            "The limit of the plan again",
        ),
        {200: ("It has none of its own any more.", JSON, _SET), 202: _LATER},
        codes=(*WHO, *ACTION, *LOG, "id_reused", "erased", "invalid_parameter", "database_unavailable"),
        security=BY_HEADER,
        parameters=("OfMeter", "OfSubject", "Wait", "Prefer", "IdempotencyKey"),
    ),
    Operation(
        *("PUT", "/v1/admin/subjects/{subject}/account", "setSubjectAccount", "The zone and the billing of a subject"),
        {200: ("From when on, and the period that runs.", JSON, _ACCOUNT), 202: _LATER},
        f"From the next period on; at once when nothing was ever counted. {TWICE}",
        codes=UPDATES,
        security=BY_HEADER,
        parameters=_WITH,
        bodies=("SubjectAccount",),
        examples={"berlin": {"zone": "Europe/Berlin", "billing": "anniversary", "anchorAt": "2026-01-30T09:00:00Z"}},
    ),
    Operation(
        *("POST", "/v1/admin/subjects/{subject}/adjustments", "adjustUsage", "Correct what was counted, with a reason"),
        {200: ("What the counter took, and how it stands.", JSON, _ADJUSTED), 202: _LATER},
        f"Never below 0. A period that was closed gets a revision. {TWICE}",
        codes=UPDATES,
        security=BY_HEADER,
        parameters=_WITH,
        bodies=("Adjustment",),
        examples={"refund": {"action": "DIAGRAM_UPLOAD", "quantity": -1, "reason": "the upload was broken"}},
    ),
)


PARAMETERS: Final[Json] = {
    "OfSubject": path(
        "subject",
        {"type": "string", "minLength": 1, "maxLength": 133},
        "`user:…` or `org:…`; without either word it is a user.",
        example="user:ada",
    ),
    "OfMeter": path("action", TEXT, "A meter of the catalog.", example="DIAGRAM_UPLOAD"),
}
TYPES: Final = (SubjectPlan, SubjectLimit, SubjectAccount, Adjustment)
