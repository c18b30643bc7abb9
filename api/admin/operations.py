"""The routes of api/admin/ as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api.admin.dead_letters import STATUSES, LetterSelection
from api.admin.overviews import COURSES, MOST
from api.operation import ADMIN, BODY, BY_HEADER, JSON, Operation
from api.schemas import COUNT, SHARE, TEXT, TIME, Json, fields, listed, nullable, query
from jobs.dead_filter import FAMILY_NAMES
from jobs.status import Status

_YES_OR_NO: Final[Json] = {"type": "boolean"}
_NUMBER_OR_NONE: Final[Json] = {"type": ["number", "null"]}


def _list(properties: Json) -> Json:
    return listed(fields(properties))


_SESSIONS: Final = fields(
    {
        "appliedThrough": TIME,
        "from": TIME,
        "to": TIME,
        "grain": {"enum": ["hour", "day"]},
        "bots": {**COUNT, "description": "sessions of declared bots that are left out"},
        "cursor": nullable(TEXT),
        "sessions": _list(
            {
                "sessionId": TEXT,
                "subject": TEXT,
                "startedAt": TIME,
                "lastAt": TIME,
                "endedAt": nullable(TIME),
                "completedAt": nullable(TIME),
                "interactions": COUNT,
                "deviceType": nullable(TEXT),
                "lastCategory": nullable(TEXT),
                "totalPrice": _NUMBER_OR_NONE,
                "completionPercentage": _NUMBER_OR_NONE,
                "isBot": _YES_OR_NO,
            }
        ),
    }
)
_COURSE: Final[Json] = {
    "enrolments": COUNT,
    "completions": COUNT,
    "completionRate": SHARE,
    "watchTimeSeconds": COUNT,
    "certificates": COUNT,
    "revokedCertificates": COUNT,
}
_COURSES: Final = fields(
    {
        "appliedThrough": TIME,
        "totals": fields(_COURSE),
        "courses": _list({"courseId": TEXT, "title": nullable(TEXT), "isDeleted": _YES_OR_NO, **_COURSE}),
    }
)
_LETTER: Final[Json] = {
    "id": {"type": "string", "format": "uuid"},
    "actionId": TEXT,
    "kind": TEXT,
    "subject": TEXT,
    "code": TEXT,
    "message": TEXT,
    "deadAt": TIME,
    "status": {"enum": ["open", "retried", "discarded"]},
}
_LETTERS: Final = fields(
    {
        "letters": _list(_LETTER),
        "total": COUNT,
        "cursor": nullable(TEXT),
        "codes": _list({"code": TEXT, "number": COUNT, "oldest": TIME, "newest": TIME}),
        "kinds": _list({"kind": TEXT, "number": COUNT, "family": nullable(TEXT)}),
    }
)
_MORE: Final[Json] = {"left": COUNT, "cursor": nullable(TEXT)}
_ALL_RETRIED: Final = fields(
    {"retried": COUNT, "refused": COUNT, "reasons": _list({"reason": TEXT, "number": COUNT}), **_MORE}
)
_ALL_DISCARDED: Final = fields({"discarded": COUNT, **_MORE})
_ONE_LETTER: Final = fields(
    {**_LETTER, "partition": COUNT, "position": TEXT},
    description="With `action`, or `bytes` in hex where it cannot be decoded.",
)
_ASKED: Final = (*ADMIN, "invalid_parameter")
_ONE: Final = (*ADMIN, "not_found")


def _done(name: str) -> Json:
    return fields({name: {"type": "integer", "minimum": 0, "maximum": 1}, "reason": nullable(TEXT)})


def _get(path: str, name: str, summary: str, schema: str | Json, description: str, *parameters: str) -> Operation:
    answers = {200: ("As it stands.", JSON, schema)}
    codes = _ASKED if parameters else ADMIN
    return Operation(
        "GET", path, name, summary, answers, description, codes=codes, security=BY_HEADER, parameters=parameters
    )


def _letters(verb: str, name: str, summary: str, schema: Json, *more: str) -> Operation:
    return Operation(
        *("POST", f"/v1/admin/dead/{verb}", name, summary),
        {200: ("What this request did, how many are left, and the cursor that goes on with them.", JSON, schema)},
        "Those that were open when the first request came, up to `limit` in one request. Send the cursor with the same "
        "filter until there is none. Each letter is done once, whoever else does the same.",
        codes=(*ADMIN, *BODY, *more),
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
        {302: ("It is at `/admin/`.", "text/plain", TEXT)},
    ),
    Operation(
        *("GET", "/admin/", "readDashboard", "The dashboard"),
        {200: ("A page, which asks for a key with the scope `admin`.", "text/html", TEXT)},
    ),
    Operation(
        *("GET", "/admin/files/{file}", "readDashboardFile", "A file of the dashboard"),
        {200: ("A script or a style sheet.", "text/javascript", TEXT)},
        codes=("not_found",),
        parameters=("DashboardFile",),
    ),
    _get(
        *("/api/admin/analytics/sessions", "listLatestSessions", "The sessions that began last", _SESSIONS),
        "Newest first; 24h unless a range is given, cut to whole hours or days: `from`, `to` and `grain` say to which. "
        "`cursor` leads to the next page of the same range; null: this is the last one.",
        *("SessionsRange", "From", "To", "AnalyticsBots", "AdminLimit", "AdminCursor"),
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
    "LetterCode": query("code", TEXT, "Those of this code only."),
    "LetterKind": query("kind", TEXT, "Those of this kind only."),
    "LetterFamily": query("family", {"enum": list(FAMILY_NAMES)}, "Those of the kinds of this family only."),
    "AdminCursor": query("cursor", TEXT, "Where to go on: `cursor` of an earlier answer."),
    "SessionsRange": query("timeRange", {"enum": ["24h", "7d", "30d", "90d"]}, "How far back from now."),
    "AdminLimit": query("limit", {"type": "integer", "minimum": 1, "maximum": MOST, "default": 50}, "At most so many."),
    "CoursesLimit": query("limit", {"type": "integer", "minimum": 1, "maximum": COURSES}, "At most so many."),
}
TYPES: Final = (Status, LetterSelection)
