"""Actions in: read, parse, validate, append, answer. No Postgres on this path, one await for the log."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web
from multidict import istr

from api import body as bodies
from api import bots, one_write
from api.body import Malformed, Parsed
from api.errors import Problem
from api.inflate import inflated
from api.state import STATE, State
from db import metrics, stream
from jobs import door
from jobs.action import Action, Rejected, Sender
from jobs.catalog import Catalog
from jobs.families import BY_KIND, KINDS

BODY_SECONDS: Final = 30.0
"""How long a client may take to send its body."""
MAX_WAIT: Final = 10.0
PREFER: Final = istr("Prefer")
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,4})\"?(?:$|[,;\s])", re.IGNORECASE)
JSON: Final = frozenset(("application/json", "text/plain", "application/octet-stream", ""))
_NDJSON: Final = frozenset(("application/x-ndjson", "application/ndjson", "application/jsonl"))
_encode: Final = msgspec.msgpack.Encoder().encode
_json: Final = msgspec.json.Encoder().encode
_accepted = {name: metrics.Tally(metrics.ACCEPTED.labels(name)) for name in KINDS}

Outcome = asyncio.Future[tuple[Any, bool]]


class Rejection(msgspec.Struct, omit_defaults=True):
    """Why one action of a request was not taken."""

    index: int
    code: str
    message: str
    id: str | None = None
    path: str | None = None


class Answer(msgspec.Struct, omit_defaults=True):
    """202, or 200 with `results` when the client asked to wait and it was soon enough."""

    accepted: int
    rejected: list[Rejection]
    ids: list[str]
    position: str | msgspec.UnsetType
    shed: int = 0
    """Good actions that were not taken, because their family is switched off, or we are too slow to take them."""
    results: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET


@dataclass(slots=True)
class Judged:
    """The actions of one request, after the door's rules."""

    actions: list[Action]
    rejected: list[Rejection]
    shed: int = 0


async def actions(request: web.Request) -> web.StreamResponse:
    """POST /v1/actions: one action, a batch, or NDJSON."""
    return await send(request, request.app[STATE])


async def send(request: web.Request, state: State) -> web.StreamResponse:
    """POST /v1/actions, of an application that is not asked for it."""
    sender = state.auth.believed(request, "ingest", state.clock.seconds()) or await state.auth.sender(request, "ingest")
    limits = await state.rates.check(sender, "ingest") if "ingest" in state.rates.rules else None
    kind = request.headers.get(hdrs.CONTENT_TYPE, "")
    if kind != "application/json":  # what most send needs no parsing
        kind = request.content_type
    if kind not in JSON and kind not in _NDJSON:
        raise Problem("unsupported_media_type", f"send application/json or application/x-ndjson, not {kind}")
    content = _at_hand(request)
    if content is None:
        content = await read(request)
    try:
        parsed = bodies.parse_lines(content) if kind in _NDJSON else bodies.parse(content)
    except Malformed as error:
        raise malformed(error) from None
    return await take(request, state, sender, parsed, limits)


def malformed(error: Malformed) -> Problem:
    """400 for what is no JSON, 413 for too much, 422 for JSON of another shape."""
    return Problem(
        error.code, str(error), status=422 if error.is_json else 413 if error.code == "too_many_actions" else 400
    )


async def read(request: web.Request) -> bytes:
    """The body, inflated; bounded in size by aiohttp and in time here."""
    if (found := _at_hand(request)) is not None:
        return found
    if (request.content_length or 0) > request.client_max_size:
        raise web.HTTPRequestEntityTooLarge(request.client_max_size)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            content = await request.read()
    except TimeoutError:
        raise Problem("body_timeout", f"the body did not arrive within {BODY_SECONDS:.0f} s") from None
    return await inflated(request, content)


def _at_hand(request: web.Request) -> bytes | None:
    """The body when it came with the head, as small ones do: a timer for each would cost a tenth of the request."""
    if not request.content.is_eof() or hdrs.CONTENT_ENCODING in request.headers:
        return None
    content = request.content.read_nowait()
    if len(content) > request.client_max_size:
        raise web.HTTPRequestEntityTooLarge(request.client_max_size)
    return content


async def take(
    request: web.Request,
    state: State,
    sender: Sender,
    parsed: Sequence[Parsed],
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Judge the drafts, append the good ones, answer with what became of each."""
    judged = judge(parsed, sender, state.clock.now(), state.catalog, state.closed)
    if not judged.actions:
        return _nothing_in(judged, headers)
    bots.mark(judged.actions, sender, request.headers.get(hdrs.USER_AGENT))
    seconds = wanted_wait(request) if PREFER in request.headers else 0.0
    waiting = [state.waiting.expect() for _ in judged.actions] if seconds else []
    for action, (reply, _) in zip(judged.actions, waiting, strict=bool(waiting)) if waiting else ():
        action.reply = reply
    try:
        position = await _appended(state, judged.actions)
    except BaseException:
        for _, outcome in waiting:
            outcome.cancel()
        raise
    _count(judged.actions)
    ids = [action.id for action in judged.actions]
    answer = Answer(len(ids), judged.rejected, ids, position, judged.shed)
    if waiting and (found := await outcomes([outcome for _, outcome in waiting], seconds)) is not None:
        answer.results = [
            {"id": action.id, "outcome": outcome, "duplicate": duplicate}
            for action, (outcome, duplicate) in zip(judged.actions, found, strict=True)
        ]
    status = 202 if answer.results is msgspec.UNSET else 200
    return one_write.answer(request, _json(answer), status, headers)


def judge(
    parsed: Sequence[Parsed], sender: Sender, now: datetime, catalog: Catalog, off: frozenset[str] = frozenset()
) -> Judged:
    """Every draft by the rules of the door; a bad one never fails a good one beside it. `off`: kinds not taken."""
    good: list[Action] = []
    rejected: list[Rejection] = []
    for index, draft in enumerate(parsed):
        given = draft.id  # before one of ours takes its place
        try:
            if isinstance(draft, Rejected):
                raise draft
            good.append(door.accept(draft, KINDS, sender, now, catalog))
        except Rejected as error:
            shown = given if given is not None and len(given) <= 256 else None
            rejected.append(Rejection(index, error.code, error.message, shown, error.path))
            metrics.REJECTED.labels(error.code).inc()
    judged = Judged(good, rejected)
    return _without(judged, off) if off else judged


def _without(judged: Judged, off: frozenset[str]) -> Judged:
    """What is left when these kinds are not taken: sheddable ones are shed and told, durable ones may come again."""
    rejected = {one.index for one in judged.rejected}
    total = len(judged.actions) + len(rejected)
    left = Judged([], judged.rejected)
    for index, action in zip((n for n in range(total) if n not in rejected), judged.actions, strict=True):
        if action.kind not in off:
            left.actions.append(action)
        elif KINDS[action.kind].sheddable:
            left.shed += 1
            metrics.SHED.labels(BY_KIND[action.kind][0].name).inc()
        else:
            message = f"{action.kind} is switched off at the moment: send the same again later"
            left.rejected.append(Rejection(index, "family_off", message, action.id))
            metrics.REJECTED.labels("family_off").inc()
    left.rejected.sort(key=lambda one: one.index)
    return left


def _nothing_in(judged: Judged, headers: Mapping[str, str] | None) -> web.Response:
    """Nothing to append: 202 when good actions were shed, else the problem."""
    if not judged.shed or any(one.code == "family_off" for one in judged.rejected):
        raise refused(judged.rejected)
    answer = Answer(0, judged.rejected, [], msgspec.UNSET, judged.shed)
    return web.Response(body=msgspec.json.encode(answer), status=202, headers=headers, content_type="application/json")


async def append(state: State, actions: Sequence[Action]) -> str:
    """Into the log, as durably as promised; the positions."""
    position = await _appended(state, actions)
    _count(actions)
    return position


def _appended(state: State, actions: Sequence[Action]) -> asyncio.Future[str]:
    partitions = state.log.partitions
    return state.log.append([(stream.partition_of(one.subject, partitions), _encode(one)) for one in actions])


def _count(accepted: Sequence[Action]) -> None:
    if len(accepted) == 1:
        _accepted[accepted[0].kind].add()
    else:
        for kind, number in Counter([action.kind for action in accepted]).items():
            _accepted[kind].add(number)


async def outcomes(waiting: Sequence[Outcome], seconds: float) -> list[tuple[Any, bool]] | None:
    """(outcome, duplicate) of each, in order; None when one of them took longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await asyncio.gather(*waiting)
    except TimeoutError:
        return None


def wanted_wait(request: web.Request) -> float:
    """Seconds of `Prefer: wait=N` (RFC 7240), 10 at most; 0: do not wait."""
    prefer = request.headers.get(PREFER)
    found = _WAIT.search(prefer) if prefer else None
    return min(MAX_WAIT, float(found[1])) if found else 0.0


def refused(rejected: list[Rejection]) -> Problem:
    """The answer when no action was good; the first says why.

    403 if all belong to others, 400 for lines that are no JSON, 503 if some may be taken later, else 422.
    """
    codes = {one.code for one in rejected}
    first = next((one for one in rejected if one.code == "family_off"), rejected[0])
    details = {"rejected": msgspec.to_builtins(rejected), "path": first.path}
    if codes <= {"forbidden_subject", "forbidden_kind"}:
        return Problem(first.code, first.message, status=403, details=details)
    status = 503 if first.code == "family_off" else 400 if codes == {"malformed_json"} else 422
    return Problem(first.code, first.message, status=status, details=details)


def relocated(root: str, problem: Problem) -> Problem:
    """The paths of a refused action as they are in the body that was sent."""
    details = problem.details
    if isinstance(details, dict) and "rejected" in details:
        for one in (details, *details["rejected"]):
            path = one.get("path")
            if path is not None and path.startswith("$.data"):
                one["path"] = root + path.removeprefix("$.data")
    return problem
