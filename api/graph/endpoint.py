"""GraphQL at /graphql and /userProgress/graphql: POST, GET for queries, GraphiQL for browsers (docs/graphql.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from inspect import isawaitable
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web
from graphql import ExecutionResult, GraphQLError, OperationType, execute

from api import errors, messages, reads, updates
from api.auth import senders
from api.errors import Problem, unauthorized
from api.graph import graphiql, schema
from api.graph import request as graph_request
from api.graph.call import Call
from api.graph.documents import Documents, Limits, Operation, Refused, told
from api.graph.request import JSON, GraphqlRequest
from api.state import STATE, State
from db import log
from jobs.action import Sender

logger = log.get("graphql")

SECONDS: Final = 15.0
"""After which an operation is given up: longer than the time-outs of Redis and Postgres beneath it."""
PATHS: Final = ("/userProgress/graphql", "/graphql")
NOBODY: Final = Sender("nobody", "user", frozenset())
_ABROAD: Final = frozenset((429, 503))
"""Statuses that the whole answer has when no field succeeded, so that clients and proxies wait."""

Read = Callable[[web.Request], Awaitable[GraphqlRequest]]


async def post(request: web.Request) -> web.Response:
    """POST: a query or a mutation as JSON."""
    return await _handle(request, graph_request.of_body)


async def get(request: web.Request) -> web.Response:
    """GET: a query in the address, or GraphiQL for a browser that asks for a page."""
    if request.app[STATE].settings.introspects and graph_request.wants_page(request):
        return graphiql.page(request)
    return await _handle(request, graph_request.of_address)


async def _handle(request: web.Request, read: Read) -> web.Response:
    media = JSON
    try:
        media = graph_request.media(request)
        sender = await _sender(request)
        return await _answer(request, sender, await read(request), media)
    except Exception as error:  # noqa: BLE001 - the edge: errors.problem_of logs what is our mistake
        return _refusal(errors.problem_of(error), media)


async def _sender(request: web.Request) -> Sender:
    """Who asks. Where the schema is no secret, nobody in particular may ask for it."""
    state = request.app[STATE]
    if hdrs.AUTHORIZATION in request.headers:
        return await state.auth.sender(request)
    if state.settings.introspects:
        return NOBODY
    raise _nobody()


def _nobody() -> Problem:
    return unauthorized("unauthorized", "send Authorization: Bearer with a service key or a user token")


async def _answer(request: web.Request, sender: Sender, asked: GraphqlRequest, media: str) -> web.Response:
    state = request.app[STATE]
    documents = _documents(_limits(state))
    try:
        operation = documents.operation(asked.query or "", asked.operation_name)
    except Refused as refused:
        return _request_error(refused.errors, media)
    if request.method == "GET" and operation.type is OperationType.MUTATION:
        raise Problem("method_not_allowed", "a mutation is sent by POST", headers={hdrs.ALLOW: "POST"})
    _allow(sender, operation)
    deadline = asyncio.get_running_loop().time() + updates.seconds(request)
    call = Call(state, sender, messages.of(request), deadline, request.headers.get("Idempotency-Key"))
    if not await reads.after(request, state):
        call.headers["Milepost-Stale"] = "true"
    result = await _executed(documents, operation, asked, call)
    if result.data is None:
        return _request_error([told(error, "graphql_invalid") for error in result.errors or ()], media)
    return _result(result, call, media)


def _limits(state: State) -> Limits:
    settings = state.settings
    return Limits(settings.graphql_depth, settings.graphql_cost, settings.introspects)


@cache
def _documents(limits: Limits) -> Documents:
    # Made for the first request: reading the schema would delay every start of the API.
    return Documents(schema.build(), limits)


def _allow(sender: Sender, operation: Operation) -> None:
    """Raises Problem: 401 for nobody, 403 without the scope."""
    if operation.public:
        return
    if sender is NOBODY:
        raise _nobody()
    senders.require(sender, "ingest" if operation.type is OperationType.MUTATION else "read")


async def _executed(documents: Documents, operation: Operation, asked: GraphqlRequest, call: Call) -> ExecutionResult:
    try:
        async with asyncio.timeout(SECONDS):
            result: Any = execute(
                documents.schema,
                operation.document,
                context_value=call,
                variable_values=asked.variables,
                operation_name=asked.operation_name,
                hide_suggestions=not documents.limits.introspection,
            )
            found: ExecutionResult = await result if isawaitable(result) else result
            return found
    except TimeoutError:
        raise Problem("graphql_timeout", f"not done within {SECONDS:.0f} s: ask for less, or later") from None


def _result(result: ExecutionResult, call: Call, media: str) -> web.Response:
    """What was found, with an error for every field that failed."""
    data = result.data or {}
    if call.problems and call.problems[0].status in _ABROAD and not any(data.values()):
        return _refusal(call.problems[0], media)
    body: dict[str, Any] = {"data": data}
    if result.errors:
        body = {"errors": [_masked(error) for error in result.errors], **body}
    if call.positions:
        body["extensions"] = {"position": ",".join(call.positions)}
    return _response(200, body, media, call.headers)


def _masked(error: GraphQLError) -> dict[str, Any]:
    """Root fields say themselves what is wrong, with their arguments; what fails below them is our mistake."""
    if "code" in (error.extensions or {}) or len(error.path or ()) <= 1:
        return told(error, "graphql_invalid")
    problem = errors.problem_of(error)
    return told(GraphQLError(problem.message, error.nodes, path=error.path), problem.code)


def _request_error(wrong: Sequence[Mapping[str, Any]], media: str) -> web.Response:
    """Nothing was executed. Old clients read only answers with 200 (GraphQL over HTTP, section 6.4.1)."""
    return _response(200 if media == JSON else 400, {"errors": wrong}, media)


def _refusal(problem: Problem, media: str) -> web.Response:
    """The request went no further than HTTP: as on every other route, and as GraphQL clients read it."""
    details = problem.details if isinstance(problem.details, dict) else {}
    message = errors.text(problem.message)
    body: dict[str, Any] = {"errors": [{"message": message, "extensions": {"code": problem.code, **details}}]}
    if media == JSON:
        body = {"error": {"code": problem.code, "message": message} | ({"details": details} if details else {}), **body}
    return _response(problem.status, body, media, problem.headers)


def _response(status: int, body: Any, media: str, headers: Mapping[str, str] | None = None) -> web.Response:
    head = {hdrs.CACHE_CONTROL: "no-store", hdrs.VARY: "Accept, Accept-Language", **(headers or {})}
    return web.Response(
        body=msgspec.json.encode(body), status=status, headers=head, content_type=media, charset="utf-8"
    )


ROUTES: Final = (
    *(route(path, handler) for path in PATHS for route, handler in ((web.post, post), (web.get, get))),
    web.get("/graphql/graphiql/{file}", graphiql.file),
)
