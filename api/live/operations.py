"""The route of api/live/routes.py as the OpenAPI document tells it."""

from __future__ import annotations

from typing import Final

from api.live.snapshots import SNAPSHOTS
from api.operation import BY_HEADER, LIMITS, WHO, Operation
from api.schemas import TEXT, Json, query

_EVENTS: Final = ", ".join(f"`{one.event}`" for one in SNAPSHOTS)

OPERATIONS: Final = (
    Operation(
        *("GET", "/v1/live", "listen", "Listen to what changes of one's own"),
        {
            200: (
                "Server-sent events without an end: first the state as it is, then each change as a whole new state.",
                "text/event-stream",
                TEXT,
            )
        },
        f"Events: {_EVENTS}, with the JSON of the thing as it is now; the newest one of a thing is its state, and one "
        "may come twice. A user token listens to its user and its organisation, a service to `userId`, `orgId` or "
        "both. A client that comes back with `Last-Event-ID` is sent what it missed, or, when that is not kept any "
        "more, the state as it is. A comment every 15 s keeps the connection alive. `closed` with a `code` comes "
        "before the end when the token has expired or the key was revoked.",
        codes=(
            *(*WHO, "forbidden_subject", "missing_subject", "invalid_id", "rate_limited", "too_many_streams"),
            *("streams_full", "not_ready", "log_unavailable", "database_unavailable"),
        ),
        security=(*BY_HEADER, "accessToken"),
        parameters=("ListenUser", "ListenOrg", "LastEventId", "LastEventIdQuery"),
        headers=LIMITS,
    ),
)
_ID: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 128}
_POSITIONS: Final[Json] = {"type": "string", "maxLength": 100}
PARAMETERS: Final[Json] = {
    "ListenUser": query("userId", _ID, "Whose changes; for services."),
    "ListenOrg": query("orgId", _ID, "Which organisation's changes."),
    "LastEventId": {
        "name": "Last-Event-ID",
        "in": "header",
        "schema": _POSITIONS,
        "description": "The `id` of the last event that came, as browsers send it by themselves.",
    },
    "LastEventIdQuery": query("lastEventId", _POSITIONS, "The same for clients that cannot send the header."),
}
