"""The routes of this package as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api.onboarding.routes import ChecklistSkipped, ProgressUpdate, StepClosed
from api.operation import ACTION, BODY, BY_HEADER, JSON, LOG, WHO, Json, Operation, fields, query
from api.time_range import RANGES

_TIME: Final[Json] = {"type": ["string", "null"], "format": "date-time"}
_COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_PERCENT: Final[Json] = {"type": "integer", "minimum": 0, "maximum": 100}
_SECONDS: Final[Json] = {"type": ["number", "null"], "minimum": 0}
_SHARE: Final[Json] = {"type": "number", "minimum": 0, "maximum": 1}


_PROGRESS: Final = fields({"userId": {"type": "string"}, "completionPercentage": _PERCENT}, additionalProperties=True)
_STATUS: Final = fields(
    {
        "currentStep": {"type": "string"},
        "completed": {"type": "boolean"},
        "completedAt": _TIME,
        "skipped": {"type": "boolean"},
        "percentage": _PERCENT,
        "steps": {
            "type": "array",
            "items": fields(
                {
                    "step": {"type": "string"},
                    "status": {"enum": ["pending", "completed", "skipped"]},
                    "completedAt": _TIME,
                    "timeSpentSeconds": {"type": ["integer", "null"], "minimum": 0},
                }
            ),
        },
    }
)
_OVERVIEW: Final = fields(
    {
        "from": {"type": "string", "format": "date-time"},
        "to": {"type": "string", "format": "date-time"},
        "totals": fields({"users": _COUNT, "completed": _COUNT, "skipped": _COUNT, "completionRate": _SHARE}),
        "steps": {
            "type": "array",
            "items": fields(
                {
                    "step": {"type": "string"},
                    "entered": _COUNT,
                    "completed": _COUNT,
                    "skipped": _COUNT,
                    "dropOff": _SHARE,
                    "medianTimeSpentSeconds": _SECONDS,
                    "medianTimeBetweenStepsSeconds": _SECONDS,
                }
            ),
        },
        "actions": {
            "type": "array",
            "items": fields({"action": {"type": "string"}, "users": _COUNT, "times": _COUNT, "percentage": _PERCENT}),
        },
    }
)
_YES: Final[Json] = {"const": True}
_UPDATED: Final = fields({"success": _YES, "progress": _PROGRESS, "isFirstTime": {"type": "boolean"}})
_CLOSED: Final = fields({"success": _YES, "status": _STATUS})
_LATER: Final = (
    "Durable; it was not applied within `wait`.",
    JSON,
    fields({"success": _YES, "accepted": _YES, "position": {"type": "string"}}),
)
_READS: Final = (
    *(*WHO, "forbidden_subject", "missing_subject", "invalid_id", "invalid_position", "rate_limited"),
    *("log_unavailable", "database_unavailable"),
)
_WRITES: Final = (*WHO, *BODY, *ACTION, *LOG, "id_reused", "erased", "invalid_parameter", "database_unavailable")
_LIMITS: Final = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_ON_WRITES: Final = ("OnboardingUser", "Wait", "Prefer", "IdempotencyKey", "ContentEncoding")
_TWICE: Final = "The same `id` again gets the first answer again."


def _close(path: str, name: str, summary: str, body: str, description: str) -> Operation:
    return Operation(
        *("POST", f"/v1/onboarding/{path}", name, summary),
        {200: ("The checklist afterwards.", JSON, _CLOSED), 202: _LATER},
        f"{description} {_TWICE} The body may be left out.",
        codes=_WRITES,
        security=BY_HEADER,
        parameters=(*(("OnboardingStep",) if "{step}" in path else ()), *_ON_WRITES),
        bodies=(body,),
        headers=_LIMITS,
    )


OPERATIONS: Final = (
    Operation(
        *("GET", "/v1/onboarding/progress", "readOnboardingProgress", "What a user has done of the onboarding"),
        {200: ("One field for each that the catalog names; with an ETag.", JSON, _PROGRESS)},
        "Of a user who has done nothing yet, everything is false, null or 0.",
        codes=_READS,
        security=BY_HEADER,
        parameters=("OnboardingUser", "After"),
        headers=("Milepost-Stale", *_LIMITS),
    ),
    Operation(
        *("POST", "/v1/onboarding/progress/update", "updateOnboardingProgress", "A user has done one of the actions"),
        {200: ("The progress afterwards.", JSON, _UPDATED), 202: _LATER},
        f"Waits for the worker, 2 s unless `wait` says otherwise. {_TWICE}",
        codes=_WRITES,
        security=BY_HEADER,
        parameters=_ON_WRITES,
        bodies=("ProgressUpdate",),
        headers=_LIMITS,
        examples={"clip": {"action": "created_clip", "projectId": "project-7", "metadata": {"clipCount": 5}}},
    ),
    Operation(
        *("GET", "/v1/onboarding/status", "readOnboardingStatus", "The steps of a user's checklist"),
        {200: ("Every step in its order; with an ETag.", JSON, _STATUS)},
        "`completed`: no step is pending. `skipped`: and one of them was skipped.",
        codes=_READS,
        security=BY_HEADER,
        parameters=("OnboardingUser", "After"),
        headers=("Milepost-Stale", *_LIMITS),
    ),
    _close(
        *("steps/{step}/complete", "completeOnboardingStep", "Complete a step", "StepClosed"),
        "A step that was skipped becomes completed.",
    ),
    _close(
        *("steps/{step}/skip", "skipOnboardingStep", "Skip a step", "StepClosed"),
        "A step that is completed stays so.",
    ),
    _close(
        *("skip", "skipOnboarding", "Skip every step that is pending", "ChecklistSkipped"),
        "Nothing is written when none is pending.",
    ),
    Operation(
        *("GET", "/admin/plg/onboarding/overview", "readOnboardingOverview", "Where users leave the onboarding"),
        {200: ("Of the users whose onboarding began in that time.", JSON, _OVERVIEW)},
        "`entered`: users who stood before the step. `dropOff`: the share of them who went no further.",
        codes=(*WHO, "invalid_parameter", "database_unavailable"),
        security=BY_HEADER,
        parameters=("TimeRange", "From", "To"),
    ),
)


_AT: Final[Json] = {"type": "string", "format": "date-time"}
PARAMETERS: Final[Json] = {
    "OnboardingUser": query(
        *("userId", {"type": "string", "minLength": 1, "maxLength": 128}),
        "Whose onboarding, with a service key; a user token has its own.",
    ),
    "OnboardingStep": {
        "name": "step",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
        "example": "WELCOME",
        "description": "A step of the catalog.",
    },
    "Wait": query(
        *("wait", {"type": "number", "minimum": 0, "maximum": 999}),
        "Seconds to wait for the outcome, 2 unless given, 10 at most; 0: answer 202 at once.",
    ),
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
        "description": "The id of the action, unless the body has one.",
    },
    "TimeRange": query("timeRange", {"enum": list(RANGES)}, "How far back from now; 30d unless given."),
    "From": query("from", _AT, "Instead of `timeRange`; at most 366 days before `to`."),
    "To": query("to", _AT, "Now unless given."),
}
TYPES: Final = (ProgressUpdate, StepClosed, ChecklistSkipped)
