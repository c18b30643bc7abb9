"""The routes of usage as the OpenAPI document tells them: what products ask and send."""

from __future__ import annotations

from typing import Final

from api.operation import ACTION, BODY, BY_ANY, BY_HEADER, JSON, LIMITS, LOG, READS, WHO, Operation
from api.schemas import COUNT, TEXT, TIME, YES, Json, fields, listed, nullable, path, query
from api.usage.decisions import (
    ReservationCommitted,
    ReservationReleased,
    UsageConsumed,
    UsageReserved,
    UsageTracked,
)
from api.usage.routes import LARGEST
from jobs.usage.kinds import MOST

_UPGRADE: Final = fields({"plan": TEXT, "url": TEXT, "message": TEXT})
STANDING: Final[Json] = {
    "used": COUNT,
    "reserved": COUNT,
    "limit": nullable(COUNT),
    "remaining": nullable(COUNT),
    "percentage": nullable(COUNT),
    "unlimited": {"type": "boolean"},
    "resetsAt": nullable(TIME),
    "warning": nullable({"type": "integer", "minimum": 1, "maximum": 100}),
}
_METER: Final = {"action": TEXT, **STANDING, "plan": TEXT}
_CHECKED: Final = fields({"allowed": {"type": "boolean"}, **_METER})
_CHECKED["properties"] |= {"reason": TEXT, "message": TEXT, "upgrade": _UPGRADE}
_ALLOWED: Final[Json] = {"allowed": YES, **_METER, "quantity": COUNT, "id": TEXT}
_CONSUMED: Final = fields(_ALLOWED)
_RESERVED: Final = fields({**_ALLOWED, "reservationId": TEXT, "expiresAt": TIME})
_COMMITTED: Final = fields({**_ALLOWED, "released": COUNT, "reservationId": TEXT})
_RELEASED: Final = fields({**_METER, "released": COUNT, "reservationId": TEXT, "id": TEXT})
_LATER: Final = fields({"success": YES, "accepted": YES, "id": TEXT, "position": TEXT})
_TRACKED: Final = fields(
    {
        "action": nullable(TEXT),
        "quantity": {"type": "integer"},
        "periodStart": nullable(TIME),
        "periodEnd": nullable(TIME),
        "id": TEXT,
    }
)
SHOWN: Final[Json] = {
    "plan": TEXT,
    "nextPlan": nullable(TEXT),
    "nextPlanAt": nullable(TIME),
    "period": fields({"start": TIME, "end": TIME}),
    "features": listed(TEXT),
    "meters": {"type": "object", "additionalProperties": fields(STANDING)},
    "limits": fields(dict.fromkeys(("maxFileSize", "storage", "teamSize"), nullable(COUNT))),
}
_SUBJECT: Final = ("UsageUser", "UsageOrg")
_DECIDED: Final = (
    *(*WHO, *BODY, *ACTION, *LOG, "id_reused", "erased", "invalid_parameter", "undecided"),
    *("plan_limit_exceeded", "feature_not_in_plan", "file_too_large", "database_unavailable"),
)
_ENDED: Final = (
    *(*WHO, *BODY, *ACTION, *LOG, "id_reused", "erased", "invalid_parameter", "undecided", "unknown_reservation"),
    *("reservation_committed", "reservation_released", "reservation_expired", "database_unavailable"),
)
_WRITES: Final = (*_SUBJECT, "Wait", "Prefer", "IdempotencyKey", "ContentEncoding")
_EXACT: Final = (
    "Decided by one writer, in the order of arrival: `used` + `reserved` never passes a hard limit. The same `id` "
    "again gets the first decision again. 503 `undecided`: none came in time; it still may, so send the same again "
    "with the id in `details`."
)
_UPLOAD: Final[Json] = {"action": "DIAGRAM_UPLOAD", "resourceId": "diagram-7", "fileSize": 52_000, "id": "upload-7"}


def _end(word: str, name: str, summary: str, schema: Json, body: str, codes: tuple[str, ...] = ()) -> Operation:
    return Operation(
        *("POST", f"/v1/usage/reservations/{{reservationId}}/{word}", name, summary),
        {200: ("How the meter of the reservation stands.", JSON, schema)},
        f"{_EXACT} The body may be left out.",
        codes=(*_ENDED, *codes),
        security=BY_HEADER,
        parameters=("Reservation", *_WRITES),
        bodies=(body,),
        headers=LIMITS,
    )


OPERATIONS: Final = (
    Operation(
        *("POST", "/v1/usage/track", "trackUsage", "Count what was used, whatever the limit"),
        {
            202: ("Durable; it will be counted.", JSON, _LATER),
            200: ("Counted within `wait`.", JSON, _TRACKED),
        },
        "Never fails for a limit, and does not wait for the worker unless `wait` says so. `at` decides the period.",
        codes=(*WHO, *BODY, *ACTION, *LOG, "id_reused", "erased", "invalid_parameter", "database_unavailable"),
        security=BY_ANY,
        parameters=_WRITES,
        bodies=("UsageTracked",),
        headers=LIMITS,
        examples={"export": {"action": "PROCEDURE_VIEW", "resourceId": "procedure-3", "metadata": {"from": "search"}}},
    ),
    Operation(
        *("GET", "/v1/usage/check", "checkUsage", "Whether something would be allowed now"),
        {200: ("`reason`, `message` and `upgrade` when it would not. With an ETag.", JSON, _CHECKED)},
        "Advisory, from the cache: nothing is counted, and nothing is held. To be sure, consume or reserve.",
        codes=(*READS, "invalid_parameter", "unknown_meter"),
        security=BY_HEADER,
        parameters=("Meter", "Quantity", "FileSize", *_SUBJECT, "After"),
        headers=("Milepost-Stale", *LIMITS),
    ),
    Operation(
        *("POST", "/v1/usage/consume", "consumeUsage", "Use if it is allowed: checked and counted in one"),
        {200: ("It is allowed, and counted.", JSON, _CONSUMED)},
        _EXACT,
        codes=_DECIDED,
        security=BY_HEADER,
        parameters=_WRITES,
        bodies=("UsageConsumed",),
        headers=LIMITS,
        examples={"upload": _UPLOAD},
    ),
    Operation(
        *("POST", "/v1/usage/reserve", "reserveUsage", "Hold a quantity for work that may fail"),
        {200: ("It is held until it is committed or released, or until `expiresAt`.", JSON, _RESERVED)},
        f"{_EXACT} A reservation that nobody saw expires by itself.",
        codes=_DECIDED,
        security=BY_HEADER,
        parameters=_WRITES,
        bodies=("UsageReserved",),
        headers=LIMITS,
        examples={"analysis": {"action": "AI_ANALYSIS", "quantity": 2, "ttl": 120}},
    ),
    _end(
        *("commit", "commitReservation", "Use what was reserved, or a part of it", _COMMITTED),
        *("ReservationCommitted", ("commit_exceeds_reservation",)),
    ),
    _end("release", "releaseReservation", "Free what was reserved", _RELEASED, "ReservationReleased"),
    Operation(
        *("GET", "/v1/usage/current", "readUsage", "Every meter of a subject, its plan and period"),
        {200: ("As it stands; with an ETag.", JSON, fields(SHOWN))},
        "`null` as a limit: unlimited. Of whoever has used nothing yet everything is 0.",
        codes=READS,
        security=BY_HEADER,
        parameters=(*_SUBJECT, "After"),
        headers=("Milepost-Stale", *LIMITS),
    ),
)


_ID: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 128}
PARAMETERS: Final[Json] = {
    "UsageUser": query("userId", _ID, "Whose usage, with a service key; a user token has its own."),
    "UsageOrg": query("orgId", _ID, "That of an organisation, with a service key and without `userId`."),
    "Meter": query("action", TEXT, "A meter of the catalog.", required=True, example="DIAGRAM_UPLOAD"),
    "Quantity": query("quantity", {"type": "integer", "minimum": 1, "maximum": MOST}, "How much; 1 unless given."),
    "FileSize": query("fileSize", {"type": "integer", "minimum": 0, "maximum": LARGEST}, "Bytes of a file."),
    "Reservation": path("reservationId", _ID, "What `reserve` answered: the id of that action."),
}
TYPES: Final = (UsageTracked, UsageConsumed, UsageReserved, ReservationCommitted, ReservationReleased)
