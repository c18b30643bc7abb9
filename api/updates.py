"""Updates whose answer needs the outcome: appended like any action, decided by the worker, awaited here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from aiohttp import web

from api import answer, errors, ingest
from api.auth import senders
from api.errors import CODES, Problem
from api.state import STATE, State
from jobs.action import Action, Draft, Sender

WAIT_SECONDS: Final = 2.0
_TOLD: Final = ("action", "used", "reserved", "limit", "resetsAt", "plan", "fileSize", "maxFileSize", "upgrade")
"""What the error of a decision about usage has as `details`."""
_SECONDS: Final = re.compile(r"\d{1,3}(\.\d{1,3})?", re.ASCII)


class Update(NamedTuple):
    """What became of one action; `outcome` is None when the worker took longer than the request waits."""

    action: Action
    position: str
    outcome: dict[str, Any] | None
    duplicate: bool = False


def seconds(request: web.Request, default: float | None = None) -> float:
    """How long to wait for the outcome: `?wait=`, `Prefer: wait=`, else `default`; 10 at most, 0 not at all."""
    text = request.query.get("wait")
    if text is None and "wait" in request.headers.get("Prefer", "").lower():
        return ingest.wanted_wait(request)
    if text is None:
        return WAIT_SECONDS if default is None else default
    if _SECONDS.fullmatch(text) is None:
        raise errors.parameter("wait", "wait is a number of seconds")
    return min(ingest.MAX_WAIT, float(text))


def key(request: web.Request, given: str | None = None) -> str | None:
    """The id of the action that a request sends: the body's, else the Idempotency-Key header; None: a new one."""
    return given if given is not None else request.headers.get("Idempotency-Key")


async def begin(request: web.Request, default: float | None = None) -> tuple[State, Sender, float]:
    """The state, who sends, how long to wait. Who waits is told how things stand, and needs the scope `read`, too."""
    state = request.app[STATE]
    sender = await state.auth.sender(request, "ingest")
    wait = seconds(request, default)
    if wait:
        senders.require(sender, "read")
    return state, sender, wait


async def send(state: State, sender: Sender, draft: Draft, wait: float, root: str = "$.data") -> Update:
    """One action. Raises Problem: what the door says of it, or 422 with the code of a refusal or a decision.

    `root`: where the data lies in the body that the client sent.
    """
    return (await send_all(state, sender, [draft], wait, root))[0]


async def send_all(
    state: State, sender: Sender, drafts: Sequence[Draft], wait: float, root: str = "$.data"
) -> list[Update]:
    """Several actions in one append: all of them, or Problem and none. One outcome too late: all are None."""
    judged = ingest.judge(drafts, sender, state.clock.now(), state.catalog, state.closed)
    if judged.rejected:
        raise ingest.relocated(root, ingest.refused(judged.rejected))
    actions = judged.actions
    waiting = [state.waiting.expect() for _ in actions] if wait else []
    for action, (reply, _) in zip(actions, waiting, strict=False):
        action.reply = reply
    try:
        position = await ingest.append(state, actions)
    except BaseException:
        for _, outcome in waiting:
            outcome.cancel()
        raise
    found = await ingest.outcomes([outcome for _, outcome in waiting], wait) if waiting else None
    if found is None:
        return [Update(action, position, None) for action in actions]
    for outcome, _ in found:
        if "error" in outcome:
            raise decided(outcome)
    return [
        Update(action, position, outcome, duplicate)
        for action, (outcome, duplicate) in zip(actions, found, strict=True)
    ]


def decided(outcome: dict[str, Any]) -> Problem:
    """422, or the code's own status: the worker said no."""
    code = outcome["error"]
    status = CODES[code][0] if code in CODES else 422
    details = {name: outcome[name] for name in _TOLD if name in outcome} or None
    return Problem(code, outcome.get("message", "the action cannot be applied"), status=status, details=details)


def accepted(update: Update, extra: dict[str, Any]) -> web.Response:
    """202: durable, and it will be applied; its outcome took longer than the request waited."""
    return answer.fresh({"success": True, "accepted": True, "position": update.position} | extra, status=202)
