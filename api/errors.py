"""What goes wrong, in one table: a stable code, its HTTP status, what it means. Every error answer is made here."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import asyncpg
import msgspec
import redis.exceptions
from aiohttp import ClientConnectionResetError, hdrs, http_exceptions, web

from db import appending, log, metrics

logger = log.get("api")

CODES: Final[Mapping[str, tuple[int, str]]] = {
    "malformed": (400, "the request cannot be read: no JSON, a broken encoding, a broken compression"),
    "malformed_json": (400, "the body is not JSON"),
    "too_deep": (400, "the body is nested too deep; of one action: 422"),
    "invalid_position": (400, "`after` is no position, or one of a partition that does not exist"),
    "invalid_parameter": (400, "a parameter of the path or the query is wrong; `details` names it"),
    "graphql_request": (
        400,
        "no GraphQL request: `query` is text, `variables` and `extensions` are objects, one operation, no batch",
    ),
    "graphql_syntax": (400, "the GraphQL document cannot be parsed"),
    "graphql_invalid": (400, "the GraphQL document, its operation or its variables do not fit the schema"),
    "graphql_too_complex": (
        400,
        "the GraphQL document is too deep, too costly or too large: send several smaller ones",
    ),
    "unauthorized": (401, "no service key and no user token came along"),
    "invalid_key": (401, "there is no such service key, or it was revoked"),
    "invalid_token": (401, "the user token is not one that we trust"),
    "token_expired": (401, "the user token has expired: fetch a new one"),
    "missing_scope": (403, "the key or token lacks the scope that `details` names"),
    "forbidden_subject": (403, "a user token reads and writes its own subject only"),
    "forbidden_kind": (403, "this sender may not send this kind"),
    "feature_not_in_plan": (
        403,
        "the subject's plan does not have this at all; `details.upgrade` has the one that does",
    ),
    "not_found": (404, "there is no such route or thing"),
    "unknown_family": (404, "there is no such family or group of kinds: GET /api/admin/flags lists them"),
    "unknown_progress": (404, "there is no such progress, or it is somebody else's"),
    "unknown_reservation": (404, "there is no such reservation, or it is somebody else's"),
    "method_not_allowed": (405, "the route has other methods: see Allow"),
    "not_acceptable": (406, "the route has no answer in a media type that Accept names"),
    "erased": (410, "the person whose action this is was erased: nothing about them is taken any more"),
    "certificate_erased": (410, "the holder of the certificate was erased: nobody can verify it any more"),
    "body_timeout": (408, "the body took too long to arrive"),
    "reservation_committed": (409, "the reservation was committed before"),
    "reservation_released": (409, "the reservation was released before"),
    "reservation_expired": (409, "the reservation has expired: reserve again"),
    "too_large": (413, "the body, or the data of one action, is larger than the limit"),
    "too_many_actions": (413, "more than 1,000 actions in one request: send several"),
    "file_too_large": (413, "the file is larger than the subject's plan takes; `details.maxFileSize` in bytes"),
    "unsupported_media_type": (415, "send JSON or NDJSON"),
    "invalid_body": (422, "JSON, but not of the form that the route takes; `details` has the path"),
    "empty_batch": (422, "there is no action in the body"),
    "invalid_action": (422, "the action is not of the form of one; `details` has the path"),
    "unknown_kind": (422, "there is no such kind: GET /v1/kinds lists them"),
    "invalid_data": (422, "`data` is not what the kind takes; `details` has the path"),
    "id_reused": (422, "the id belongs to an action of another kind, applied before: send a new id"),
    "unknown_action": (422, "the catalog has no such action of the onboarding; the message names those it has"),
    "unknown_step": (422, "the catalog has no such step of the onboarding; the message names those it has"),
    "unknown_code": (422, "there is no such referral code"),
    "own_code": (422, "a referral code is for others than the organisation whose it is"),
    "already_referred": (422, "the organisation came by another code before: the first one counts"),
    "referral_cycle": (422, "the owner of the code was referred by this organisation, or by one that came by it"),
    "invalid_id": (422, "an id is text of 1 to 128 characters without control characters"),
    "missing_subject": (422, "the action says of no session, user or organisation that it is theirs"),
    "bad_text": (422, "text with a NUL, a lone surrogate, or bytes that are not UTF-8"),
    "not_finite": (422, "NaN or Infinity, which JSON does not have"),
    "too_many_keys": (422, "free JSON with more than 1,000 keys"),
    "unknown_lesson": (422, "nobody has described this lesson, and the catalog takes no unknown ones: add its course"),
    "unknown_course": (422, "nobody has described this course, and the catalog takes no unknown ones: add it first"),
    "lesson_of_another_course": (422, "the lesson belongs to another course than the one that is named"),
    "unknown_meter": (422, "the catalog has no such meter; the message names those it has"),
    "unknown_zone": (422, "there is no such time zone: name one like Europe/Berlin"),
    "unknown_plan": (422, "there is no such plan; the message names those there are"),
    "commit_exceeds_reservation": (422, "more than was reserved: the reservation stays open"),
    "unknown_certificate": (422, "the user has no such certificate"),
    "invalid_webhook": (422, "the webhook cannot be registered; `details` has the path, the message says why"),
    "forbidden_address": (422, "the webhook's host is inside the house, where webhooks may not go"),
    "too_many_webhooks": (422, "there are 100 webhooks already"),
    "rate_limited": (429, "more requests than the limit allows: wait for Retry-After"),
    "plan_limit_exceeded": (
        429,
        "a limit of the plan is reached: `details` has it and the upgrade; waiting does not help",
    ),
    "too_many_streams": (429, "as many streams of this user are open as may be: close one, or share one between tabs"),
    "internal": (500, "our mistake; the log has it"),
    "log_unavailable": (503, "Redis does not answer: send the same again, with the same ids"),
    "undecided": (503, "no decision came in time: send the same again with the id in `details`, and you get it"),
    "family_off": (503, "an operator has switched this family of actions off: send the same again later"),
    "backlog_full": (503, "too many actions wait to be applied: send the same again later"),
    "database_unavailable": (503, "Postgres does not answer"),
    "graphql_timeout": (503, "a GraphQL operation took more than 15 s: ask for less, or later"),
    "keys_unavailable": (503, "the key or token cannot be checked at the moment"),
    "busy": (503, "too many certificates are being drawn, or exports written, at the moment"),
    "streams_full": (503, "this process holds as many open streams as it may: try again later"),
    "not_ready": (503, "starting, stopping, or nobody applies what comes in"),
}
"""code -> status, meaning. Codes are part of the contract: never renamed, never reused."""

HTTP: Final[Mapping[int, str]] = {
    status: next(code for code, (own, _) in CODES.items() if own == status) for status in (400, 401, 404, 405, 413, 415)
}
"""The code for what aiohttp itself refuses."""

# A connection that the client closed is an OSError, too, and none of Postgres.
UNREADABLE: Final = (web.RequestPayloadError, http_exceptions.BadHttpMessage, ClientConnectionResetError)
POSTGRES_AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
    TimeoutError,
)
REDIS_AWAY: Final = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ClusterError,
    redis.exceptions.ClusterDownError,
)
RETRY_SECONDS: Final = 2
_warn = log.Seldom(logger, seconds=5)


class Problem(Exception):
    """An answer that is no success: a code of CODES, a message for people, and what else belongs to it."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        details: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`status` is needed where it differs from the table's; `details` is anything that is JSON."""
        super().__init__(message)
        self.code, self.message, self.details = code, message, details
        self.status = status or CODES[code][0]
        self.headers = dict(headers or {})
        if self.status == 503:
            self.headers.setdefault(hdrs.RETRY_AFTER, str(RETRY_SECONDS))


def parameter(name: str, message: str, code: str = "invalid_parameter") -> Problem:
    """400: a parameter of the path or the query is wrong; `code` for one that stands in a body."""
    return Problem(code, message, details={"path": name})


def unauthorized(code: str, message: str) -> Problem:
    """401 with the challenge of RFC 6750; `message` is our own text, without quotes."""
    error = "" if code == "unauthorized" else f', error="invalid_token", error_description="{message}"'
    return Problem(code, message, headers={hdrs.WWW_AUTHENTICATE: f'Bearer realm="milepost"{error}'})


def response(exc: Exception) -> web.Response:
    """The answer to any exception. What is our mistake is logged, once, and the client learns nothing of it.

    aiohttp's redirects are raised again: they are no errors.
    """
    problem = problem_of(exc)
    error: dict[str, Any] = {"code": problem.code, "message": text(problem.message)}
    if problem.details is not None:
        error["details"] = problem.details
    answer = web.Response(
        body=msgspec.json.encode({"error": error}),
        status=problem.status,
        headers=problem.headers,
        content_type="application/json",
    )
    if problem.status == 408:
        answer.force_close()  # what is still to come would be taken for the next request
    return answer


def problem_of(exc: Exception) -> Problem:
    """What is told of any exception, where the answer has a form of its own; logs as `response` does."""
    return exc if isinstance(exc, Problem) else _problem(exc)


def _problem(exc: Exception) -> Problem:
    if isinstance(exc, web.HTTPException):
        return _from_http(exc)
    if isinstance(exc, appending.Unavailable):
        metrics.REFUSED.labels(exc.code).inc()
        return Problem(exc.code, str(exc), status=503, headers={hdrs.RETRY_AFTER: str(exc.retry_after)})
    if isinstance(exc, UNREADABLE):
        return Problem("malformed", "the body cannot be read: its encoding or compression is broken, or it broke off")
    if is_postgres_away(exc):
        _warn("Postgres is away", error=str(exc) or type(exc).__name__)
        return Problem("database_unavailable", "the database does not answer")
    if is_redis_away(exc):
        _warn("Redis is away", error=str(exc) or type(exc).__name__)
        return Problem("log_unavailable", "the log does not answer")
    logger.error("request failed", exc_info=exc)
    return Problem("internal", "something went wrong on our side")


def _from_http(exc: web.HTTPException) -> Problem:
    if exc.status < 400:
        raise exc
    code = HTTP.get(exc.status) or HTTPStatus(exc.status).name.lower()
    kept = {str(name): exc.headers[name] for name in (hdrs.ALLOW, hdrs.RETRY_AFTER) if name in exc.headers}
    message = CODES[code][1] if code in CODES else exc.reason
    return Problem(code, message, status=exc.status, headers=kept)


def is_postgres_away(exc: BaseException) -> bool:
    """Whether Postgres cannot be used at the moment, as opposed to a query that is wrong."""
    if isinstance(exc, asyncpg.InterfaceError):
        return "clos" in str(exc)  # asyncpg has one class for a closed connection and for wrong arguments
    return isinstance(exc, POSTGRES_AWAY)


def is_redis_away(exc: BaseException) -> bool:
    """Whether Redis cannot be used at the moment, as opposed to a command that is wrong."""
    return isinstance(exc, REDIS_AWAY)


def text(message: str) -> str:
    """A message may quote what the client sent, which need not be encodable."""
    return message.encode(errors="replace").decode()
