"""The routes of this package as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api.onboarding.routes import ChecklistSkipped, ProgressUpdate, StepClosed
from api.operation import BY_HEADER, JSON, LIMITS, READS, TWICE, UPDATES, WHO, Operation
from api.schemas import COUNT, SHARE, TEXT, TIME, YES, Json, fields, later, nullable, path, query
from api.time_range import RANGES

_PERCENT: Final[Json] = {"type": "integer", "minimum": 0, "maximum": 100}
_SECONDS: Final[Json] = {"type": ["number", "null"], "minimum": 0}


_PROGRESS: Final = fields({"userId": TEXT, "completionPercentage": _PERCENT}, additionalProperties=True)
_STATUS: Final = fields(
    {
        "currentStep": TEXT,
        "completed": {"type": "boolean"},
        "completedAt": nullable(TIME),
        "skipped": {"type": "boolean"},
        "percentage": _PERCENT,
        "steps": {
            "type": "array",
            "items": fields(
                {
                    "step": TEXT,
                    "status": {"enum": ["pending", "completed", "skipped"]},
                    "completedAt": nullable(TIME),
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
        "totals": fields({"users": COUNT, "completed": COUNT, "skipped": COUNT, "completionRate": SHARE}),
        "steps": {
            "type": "array",
            "items": fields(
                {
                    "step": TEXT,
                    "entered": COUNT,
                    "completed": COUNT,
                    "skipped": COUNT,
                    "dropOff": SHARE,
                    "medianTimeSpentSeconds": _SECONDS,
                    "medianTimeBetweenStepsSeconds": _SECONDS,
                }
            ),
        },
        "actions": {
            "type": "array",
            "items": fields({"action": TEXT, "users": COUNT, "times": COUNT, "percentage": _PERCENT}),
        },
    }
)
_UPDATED: Final = fields({"success": YES, "progress": _PROGRESS, "isFirstTime": {"type": "boolean"}})
_CLOSED: Final = fields({"success": YES, "status": _STATUS})
_LATER: Final = later()
_ON_WRITES: Final = ("OnboardingUser", "Wait", "Prefer", "IdempotencyKey", "ContentEncoding")


def _close(path: str, name: str, summary: str, body: str, description: str) -> Operation:
    return Operation(
        *("POST", f"/v1/onboarding/{path}", name, summary),
        {200: ("The checklist afterwards.", JSON, _CLOSED), 202: _LATER},
        f"{description} {TWICE} The body may be left out.",
        codes=UPDATES,
        security=BY_HEADER,
        parameters=(*(("OnboardingStep",) if "{step}" in path else ()), *_ON_WRITES),
        bodies=(body,),
        headers=LIMITS,
    )


OPERATIONS: Final = (
    Operation(
        *("GET", "/v1/onboarding/progress", "readOnboardingProgress", "What a user has done of the onboarding"),
        {200: ("One field for each that the catalog names; with an ETag.", JSON, _PROGRESS)},
        "Of a user who has done nothing yet, everything is false, null or 0.",
        codes=READS,
        security=BY_HEADER,
        parameters=("OnboardingUser", "After"),
        headers=("Milepost-Stale", *LIMITS),
    ),
    Operation(
        *("POST", "/v1/onboarding/progress/update", "updateOnboardingProgress", "A user has done one of the actions"),
        {200: ("The progress afterwards.", JSON, _UPDATED), 202: _LATER},
        f"Waits for the worker, 2 s unless `wait` says otherwise. {TWICE}",
        codes=UPDATES,
        security=BY_HEADER,
        parameters=_ON_WRITES,
        bodies=("ProgressUpdate",),
        headers=LIMITS,
        examples={"clip": {"action": "created_clip", "projectId": "project-7", "metadata": {"clipCount": 5}}},
    ),
    Operation(
        *("GET", "/v1/onboarding/status", "readOnboardingStatus", "The steps of a user's checklist"),
        {200: ("Every step in its order; with an ETag.", JSON, _STATUS)},
        "`completed`: no step is pending. `skipped`: and one of them was skipped.",
        codes=READS,
        security=BY_HEADER,
        parameters=("OnboardingUser", "After"),
        headers=("Milepost-Stale", *LIMITS),
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


PARAMETERS: Final[Json] = {
    "OnboardingUser": query(
        *("userId", {"type": "string", "minLength": 1, "maxLength": 128}),
        "Whose onboarding, with a service key; a user token has its own.",
    ),
    "OnboardingStep": path("step", {"type": "string", "minLength": 1}, "A step of the catalog.", example="WELCOME"),
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
    "From": query("from", TIME, "Instead of `timeRange`; at most 366 days before `to`."),
    "To": query("to", TIME, "Now unless given."),
}
TYPES: Final = (ProgressUpdate, StepClosed, ChecklistSkipped)
