"""The routes of api/admin/ as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api.admin.dead_letters import STATUSES, LetterSelection
from api.admin.overviews import COURSES, MOST
from api.operation import BODY, BY_HEADER, JSON, WHO, Operation
from api.schemas import Json, fields, listed, query
from jobs.dead_filter import FAMILY_NAMES
from jobs.status import Status

_AT: Final[Json] = {"type": "string", "format": "date-time"}
_AT_OR_NONE: Final[Json] = {"type": ["string", "null"], "format": "date-time"}
_COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_SHARE: Final[Json] = {"type": "number", "minimum": 0, "maximum": 1}
_TEXT: Final[Json] = {"type": "string"}
_TEXT_OR_NONE: Final[Json] = {"type": ["string", "null"]}
_YES_OR_NO: Final[Json] = {"type": "boolean"}
_NUMBER_OR_NONE: Final[Json] = {"type": ["number", "null"]}


def _list(properties: Json) -> Json:
    return listed(fields(properties))


_SESSIONS: Final = fields(
    {
        "appliedThrough": _AT,
        "from": _AT,
        "to": _AT,
        "sessions": _list(
            {
                "sessionId": _TEXT,
                "subject": _TEXT,
                "startedAt": _AT,
                "lastAt": _AT,
                "endedAt": _AT_OR_NONE,
                "completedAt": _AT_OR_NONE,
                "interactions": _COUNT,
                "deviceType": _TEXT_OR_NONE,
                "lastCategory": _TEXT_OR_NONE,
                "totalPrice": _NUMBER_OR_NONE,
                "completionPercentage": _NUMBER_OR_NONE,
            }
        ),
    }
)
_COURSE: Final[Json] = {
    "enrolments": _COUNT,
    "completions": _COUNT,
    "completionRate": _SHARE,
    "watchTimeSeconds": _COUNT,
    "certificates": _COUNT,
    "revokedCertificates": _COUNT,
}
_COURSES: Final = fields(
    {
        "appliedThrough": _AT,
        "totals": fields(_COURSE),
        "courses": _list({"courseId": _TEXT, "title": _TEXT_OR_NONE, "isDeleted": _YES_OR_NO, **_COURSE}),
    }
)
_LETTER: Final[Json] = {
    "id": {"type": "string", "format": "uuid"},
    "actionId": _TEXT,
    "kind": _TEXT,
    "subject": _TEXT,
    "code": _TEXT,
    "message": _TEXT,
    "deadAt": _AT,
    "status": {"enum": ["open", "retried", "discarded"]},
}
_LETTERS: Final = fields(
    {
        "letters": _list(_LETTER),
        "total": _COUNT,
        "cursor": _TEXT_OR_NONE,
        "codes": _list({"code": _TEXT, "number": _COUNT, "oldest": _AT, "newest": _AT}),
        "kinds": _list({"kind": _TEXT, "number": _COUNT, "family": _TEXT_OR_NONE}),
    }
)
_MORE: Final[Json] = {"left": _COUNT, "cursor": _TEXT_OR_NONE}
_ALL_RETRIED: Final = fields(
    {"retried": _COUNT, "refused": _COUNT, "reasons": _list({"reason": _TEXT, "number": _COUNT}), **_MORE}
)
_ALL_DISCARDED: Final = fields({"discarded": _COUNT, **_MORE})
_ONE_LETTER: Final = fields(
    {**_LETTER, "partition": _COUNT, "position": _TEXT},
    description="With `action`, or `bytes` in hex where it cannot be decoded.",
)
_HTML: Final[Json] = {"type": "string"}
_ADMIN: Final = (*WHO, "database_unavailable")
_ASKED: Final = (*_ADMIN, "invalid_parameter")
_ONE: Final = (*_ADMIN, "not_found")


def _done(name: str) -> Json:
    return fields({name: {"type": "integer", "minimum": 0, "maximum": 1}, "reason": _TEXT_OR_NONE})


def _get(path: str, name: str, summary: str, schema: str | Json, description: str, *parameters: str) -> Operation:
    answers = {200: ("As it stands.", JSON, schema)}
    codes = _ASKED if parameters else _ADMIN
    return Operation(
        "GET", path, name, summary, answers, description, codes=codes, security=BY_HEADER, parameters=parameters
    )


def _letters(verb: str, name: str, summary: str, schema: Json, *more: str) -> Operation:
    return Operation(
        *("POST", f"/v1/admin/dead/{verb}", name, summary),
        {200: ("What this request did, how many are left, and the cursor that goes on with them.", JSON, schema)},
        "Those that were open when the first request came, up to `limit` in one request. Send the cursor with the same "
        "filter until there is none. Each letter is done once, whoever else does the same.",
        codes=(*_ADMIN, *BODY, *more),
        security=BY_HEADER,
        bodies=("LetterSelection",),
    )


def _letter(verb: str, name: str, summary: str, done: str, more: tuple[str, ...] = ()) -> Operation:
    path = "/v1/admin/dead/{letterId}/" + verb
    answers = {200: ("Whether it was done; `reason` says why not.", JSON, _done(done))}
    codes = (*_ONE, *more)
    return Operation("POST", path, name, summary, answers, codes=codes, security=BY_HEADER, parameters=("LetterId",))


OPERATIONS: Final = (
    Operation(
        *("GET", "/admin", "readDashboardElsewhere", "The dashboard"),
        {302: ("It is at `/admin/`.", "text/plain", _HTML)},
    ),
    Operation(
        *("GET", "/admin/", "readDashboard", "The dashboard"),
        {200: ("A page, which asks for a key with the scope `admin`.", "text/html", _HTML)},
    ),
    Operation(
        *("GET", "/admin/files/{file}", "readDashboardFile", "A file of the dashboard"),
        {200: ("A script or a style sheet.", "text/javascript", _HTML)},
        codes=("not_found",),
        parameters=("DashboardFile",),
    ),
    _get(
        *("/api/admin/analytics/sessions", "listLatestSessions", "The sessions that began last", _SESSIONS),
        "Newest first; 24h unless a range is given.",
        *("SessionsRange", "From", "To", "AdminLimit"),
    ),
    _get(
        *("/api/admin/analytics/courses", "readCoursesOverview", "Courses, enrolments, certificates", _COURSES),
        "Of each course, and of all that are listed. `completionRate`: of those enrolled. `certificates`: valid ones.",
        "CoursesLimit",
    ),
    _get(
        *("/api/admin/pipe", "readPipe", "The pipe: backlog, lag, workers, schedules", "Status"),
        "What `python -m jobs status` shows. `problems` want somebody now, `warnings` today.",
    ),
    _get(
        *("/v1/admin/dead", "listDeadLetters", "Actions that could not be applied", _LETTERS),
        "Newest first. `total`: of this filter; `codes` and `kinds` count all that are open.",
        *("LetterStatus", "LetterCode", "LetterKind", "LetterFamily", "AdminLimit", "AdminCursor"),
    ),
    _letters("retry", "retryDeadLetters", "Send dead letters through the pipe again", _ALL_RETRIED, "log_unavailable"),
    _letters("discard", "discardDeadLetters", "Put dead letters away", _ALL_DISCARDED),
    Operation(
        *("GET", "/v1/admin/dead/{letterId}", "readDeadLetter", "One dead letter"),
        {200: ("With its action.", JSON, _ONE_LETTER)},
        codes=_ONE,
        security=BY_HEADER,
        parameters=("LetterId",),
    ),
    _letter("retry", "retryDeadLetter", "Send a dead letter through the pipe again", "retried", ("log_unavailable",)),
    _letter("discard", "discardDeadLetter", "Put a dead letter away", "discarded"),
)


_MANY: Final[Json] = {"type": "integer", "minimum": 1}
PARAMETERS: Final[Json] = {
    "DashboardFile": {
        "name": "file",
        "in": "path",
        "required": True,
        "schema": {"enum": ["main.js"]},
        "description": "As the page names it.",
    },
    "LetterId": {
        "name": "letterId",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
        "description": "The id of a dead letter.",
    },
    "LetterStatus": query("status", {"enum": list(STATUSES)}, "`open` if left out; `all`: those done with, too."),
    "LetterCode": query("code", {"type": "string"}, "Those of this code only."),
    "LetterKind": query("kind", {"type": "string"}, "Those of this kind only."),
    "LetterFamily": query("family", {"enum": list(FAMILY_NAMES)}, "Those of the kinds of this family only."),
    "AdminCursor": query("cursor", {"type": "string"}, "Where to go on: `cursor` of an earlier answer."),
    "SessionsRange": query("timeRange", {"enum": ["24h", "7d", "30d", "90d"]}, "How far back from now."),
    "AdminLimit": query("limit", {"type": "integer", "minimum": 1, "maximum": MOST, "default": 50}, "At most so many."),
    "CoursesLimit": query("limit", {"type": "integer", "minimum": 1, "maximum": COURSES}, "At most so many."),
}
TYPES: Final = (Status, LetterSelection)
