"""The routes of analytics, plans and operators' reports as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api import pages
from api.operation import ADMIN, BODY, BY_HEADER, JSON, LIMITS, READS, Operation
from api.schemas import COUNT, TEXT, TIME, Json, fields, listed, nullable, path, query
from api.usage.analytics import GROUPS
from api.usage.plans import PlanVersion

_NUMBER: Final[Json] = {"type": "integer"}
_RECORDS: Final[Json] = {"records": COUNT}
_ANALYTICS: Final = fields(
    {
        "from": TIME,
        "to": TIME,
        "tz": TEXT,
        "groupBy": {"enum": list(GROUPS)},
        "keptSince": nullable(TIME),
        "series": listed(
            {
                "anyOf": [
                    fields({"day": {**TEXT, "format": "date"}, "used": {"type": "object"}, **_RECORDS}),
                    fields({"action": TEXT, "used": _NUMBER, **_RECORDS}),
                ]
            }
        ),
        "totals": {"type": "object", "additionalProperties": _NUMBER},
    }
)
_LIMIT: Final = fields({"limit": nullable(COUNT), "hard": {"type": "boolean"}, "overageCap": nullable(COUNT)})
_VERSION: Final[Json] = {
    "plan": TEXT,
    "version": COUNT,
    "effectiveFrom": TIME,
    "rank": COUNT,
    "limits": {"type": "object", "additionalProperties": _LIMIT},
    **dict.fromkeys(("maxFileSize", "storage", "teamSize"), nullable(COUNT)),
    "features": listed(TEXT),
}
_SUMS: Final[Json] = dict.fromkeys(("subjects", "used", "reserved", "near", "reached"), COUNT)
_METERS: Final = listed(fields({"action": TEXT, **_SUMS}))
_SUBJECT: Final = fields(
    {
        **dict.fromkeys(("subject", "action", "plan"), TEXT),
        **dict.fromkeys(("used", "reserved"), COUNT),
        **dict.fromkeys(("limit", "percentage"), nullable(COUNT)),
        "periodEnd": nullable(TIME),
        "updatedAt": TIME,
    }
)
_MORE: Final[Json] = {"at": TIME, "subjects": listed(_SUBJECT), "more": {"type": "boolean"}}
_LIST: Final = (*ADMIN, "invalid_parameter")
_PRO: Final[Json] = {
    "rank": 10,
    "limits": {"DIAGRAM_UPLOAD": 200, "AI_ANALYSIS": {"limit": 100, "hard": False, "overageCap": 20}, "EXPORT_DXF": 0},
    "maxFileSize": 104_857_600,
}

OPERATIONS: Final = (
    Operation(
        *("GET", "/v1/usage/analytics", "readUsageAnalytics", "What a subject used, by day or by meter"),
        {200: ("Every day of the range and every meter has its row. With an ETag.", JSON, _ANALYTICS)},
        "The last 30 days by day, unless said otherwise; 366 at most. `Accept: text/csv` gets the series as CSV. Days "
        "are those of `tz`, else of the subject's zone. Records before `keptSince` are dropped.",
        codes=(*READS, "invalid_parameter", "unknown_meter"),
        security=BY_HEADER,
        parameters=("FromDay", "ToDay", "GroupBy", "Tz", "OneMeter", "UsageUser", "UsageOrg", "After"),
        headers=("Milepost-Stale", *LIMITS),
    ),
    Operation(
        *("GET", "/v1/admin/plans", "listPlans", "The plans as they are in force"),
        {
            200: (
                *("By rank, with the versions that are to come.", JSON),
                fields(
                    {"defaultPlan": TEXT, "plans": listed(fields({**_VERSION, "upcoming": listed(fields(_VERSION))}))}
                ),
            )
        },
        codes=ADMIN,
        security=BY_HEADER,
    ),
    Operation(
        *("GET", "/v1/admin/plans/{plan}", "readPlan", "Every version of a plan"),
        {200: ("The oldest first.", JSON, fields({"plan": TEXT, "versions": listed(fields(_VERSION))}))},
        codes=(*_LIST, "not_found"),
        security=BY_HEADER,
        parameters=("Plan",),
    ),
    Operation(
        *("PUT", "/v1/admin/plans/{plan}", "putPlan", "A new version of a plan, or a new plan"),
        {200: ("The version; the newest when it says the same.", JSON, fields(_VERSION))},
        "All of the plan. It holds from `effectiveFrom` on, which is now unless given; what was judged stays judged. "
        "A new plan holds at once. A seed of the catalog writes another version only where its file changes.",
        codes=(*_LIST, *BODY, "unknown_meter", "log_unavailable"),
        security=BY_HEADER,
        parameters=("Plan",),
        bodies=("PlanVersion",),
        examples={"professional": _PRO},
    ),
    Operation(
        *("GET", "/v1/admin/usage/overview", "readUsageOverview", "Usage by plan and by meter"),
        {
            200: (
                *("Of the periods that run now.", JSON),
                fields(
                    {
                        "at": TIME,
                        "nearPercent": COUNT,
                        "plans": listed(fields({"plan": TEXT, "subjects": COUNT, "meters": _METERS})),
                        "meters": _METERS,
                    }
                ),
            )
        },
        "`near`: subjects at `nearPercent` of their limit or more, `reached`: at all of it. A counter stands with the "
        "plan that it was judged by last; `subjects` of a plan are those on it now, whoever has used nothing left out.",
        codes=ADMIN,
        security=BY_HEADER,
    ),
    Operation(
        *("GET", "/v1/admin/usage/top", "listTopUsage", "Who used most of a meter"),
        {200: ("In the periods that run now, the most first.", JSON, fields({**_MORE, "action": TEXT}))},
        codes=(*_LIST, "unknown_meter"),
        security=BY_HEADER,
        parameters=("Meter", "UsageRows", "UsagePage"),
    ),
    Operation(
        *("GET", "/v1/admin/usage/near-limit", "listNearLimit", "Who is near a limit, or at it"),
        {200: ("The fullest first.", JSON, fields({**_MORE, "percent": COUNT}))},
        "By the limits of now: who was given more since the last use is left out, so that a page may be shorter.",
        codes=(*_LIST, "unknown_meter"),
        security=BY_HEADER,
        parameters=("OneMeter", "Percent", "UsageRows", "UsagePage"),
    ),
)
PARAMETERS: Final[Json] = {
    "FromDay": query("from", TEXT, "A time with its offset, or a day: its beginning.", example="2026-11-01"),
    "ToDay": query("to", TEXT, "A time with its offset, or a day: its end. Now unless given.", example="2026-11-21"),
    "GroupBy": query("groupBy", {"enum": list(GROUPS)}, "What a row is of; a day unless given."),
    "Tz": query("tz", TEXT, "Whose days; the subject's own zone unless given.", example="Europe/Berlin"),
    "OneMeter": query("action", TEXT, "Of this meter only.", example="DIAGRAM_UPLOAD"),
    "Percent": query("percent", {"type": "integer", "minimum": 1, "maximum": 1000}, "From so much of the limit on."),
    "UsageRows": query("limit", {"type": "integer", "minimum": 1, "maximum": pages.MOST}, "Rows of a page; 50."),
    "UsagePage": query("page", {"type": "integer", "minimum": 1}, "Counted from 1."),
    "Plan": path(
        "plan",
        {"type": "string", "pattern": "^[A-Z][A-Z0-9_]{0,63}$"},
        "The name of a plan.",
        example="PROFESSIONAL",
    ),
}
TYPES: Final = (PlanVersion,)
