"""Onboarding: the progress of a user, the steps of the checklist, and what operators see of both."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from api import answer, form, reads, updates, who
from api.state import STATE, State
from jobs.action import Draft, Sender
from jobs.onboarding import checklist as fold
from jobs.onboarding import rows as stored
from jobs.onboarding.checklist import Checklist
from jobs.onboarding.kinds import COMPLETED, DONE, SKIPPED


class ProgressUpdate(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Body of POST /v1/onboarding/progress/update; a service names the user."""

    action: str
    project_id: str
    metadata: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    id: str | None = None
    at: datetime | None = None
    user_id: str | None = None
    org_id: str | None = None


class StepClosed(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Body of POST /v1/onboarding/steps/{step}/complete and …/skip, which may be left out."""

    time_spent_seconds: float | None = None
    id: str | None = None
    at: datetime | None = None
    user_id: str | None = None
    org_id: str | None = None


class ChecklistSkipped(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Body of POST /v1/onboarding/skip, which may be left out."""

    id: str | None = None
    user_id: str | None = None
    org_id: str | None = None


_update: Final = msgspec.json.Decoder(ProgressUpdate)
_step: Final = msgspec.json.Decoder(StepClosed)
_skip: Final = msgspec.json.Decoder(ChecklistSkipped)


async def read_progress(request: web.Request) -> web.Response:
    """GET /v1/onboarding/progress?after=position: what the user has done, in the words of the catalog."""
    checklist, reached, limits = await _read(request)
    body = fold.progress(checklist, request.app[STATE].catalog.onboarding)
    return reads.answer(request, msgspec.json.encode(body), reached, limits)


async def read_status(request: web.Request) -> web.Response:
    """GET /v1/onboarding/status?after=position: the steps of the checklist."""
    checklist, reached, limits = await _read(request)
    body = fold.status(checklist, request.app[STATE].catalog.onboarding)
    return reads.answer(request, msgspec.json.encode(body), reached, limits)


async def _read(request: web.Request) -> tuple[Checklist, bool, dict[str, str]]:
    state, sender = await who.reader(request)
    user_id = who.user(request, sender)
    limits = await state.rates.check(sender, "read", user_id)
    reached = await reads.after(request, state)
    return await held(state, user_id), reached, limits


async def held(state: State, user_id: str) -> Checklist:
    """As it stands; of a user who has done nothing an empty one, and nothing is written."""
    subject, name = f"user:{user_id}", stored.model_name(user_id)
    body = await reads.model(state, subject, name, lambda conn: _load(conn, user_id))
    return Checklist(user_id) if body is None else fold.decode(body)


async def _load(conn: asyncpg.Connection, user_id: str) -> bytes | None:
    found = await stored.load(conn, [user_id])
    return fold.encode(found[user_id]) if user_id in found else None


async def update_progress(request: web.Request) -> web.Response:
    """POST /v1/onboarding/progress/update: 200 with the progress, 202 when that takes longer than `wait`."""
    state, sender, wait = await updates.begin(request)
    body = await form.read(request, _update)
    data = {"action": body.action, "projectId": body.project_id}
    draft = _draft(request, sender, body, DONE, data | ({"metadata": body.metadata} if body.metadata else {}))
    limits = await state.rates.check(sender, "update", draft.user_id or "")
    update = await updates.send(state, sender, draft, wait, "$")
    if update.outcome is None:
        return updates.accepted(update, {})
    told = {name: update.outcome[name] for name in ("progress", "isFirstTime")}
    return answer.fresh({"success": True, **told}, limits)


def _close(kind: str) -> Handler:
    """The handler that completes or skips one step."""

    async def handler(request: web.Request) -> web.Response:
        state, sender, wait = await updates.begin(request)
        body = await form.read(request, _step) if request.can_read_body else StepClosed()
        data: dict[str, Any] = {"step": request.match_info["step"]}
        if body.time_spent_seconds is not None:
            data["timeSpentSeconds"] = body.time_spent_seconds
        draft = _draft(request, sender, body, kind, data)
        limits = await state.rates.check(sender, "update", draft.user_id or "")
        update = await updates.send(state, sender, draft, wait, "$")
        if update.outcome is None:
            return updates.accepted(update, {})
        return answer.fresh({"success": True, "status": update.outcome["status"]}, limits)

    return handler


async def skip_rest(request: web.Request) -> web.Response:
    """POST /v1/onboarding/skip: every step that is pending, in one append; nothing is written when none is."""
    state, sender, wait = await updates.begin(request)
    body = await form.read(request, _skip) if request.can_read_body else ChecklistSkipped()
    draft = _draft(request, sender, body, SKIPPED, {})
    if draft.id is not None:
        who.named(draft.id, "$.id")
    user_id = draft.user_id or ""
    limits = await state.rates.check(sender, "update", user_id)
    checklist = await held(state, user_id)
    catalog = state.catalog.onboarding
    drafts = [_of_step(draft, step) for step in fold.pending(checklist, catalog)]
    if not drafts:
        return answer.fresh({"success": True, "status": fold.status(checklist, catalog)}, limits)
    update = (await updates.send_all(state, sender, drafts, wait, "$"))[-1]
    if update.outcome is None:
        return updates.accepted(update, {})
    return answer.fresh({"success": True, "status": update.outcome["status"]}, limits)


def _of_step(draft: Draft, step: str) -> Draft:
    """One action of several that come from one request: its id is made of the request's and the step."""
    made = draft.id and "skip-" + hashlib.sha256(f"{draft.id}\n{step}".encode()).hexdigest()[:32]
    data = msgspec.Raw(msgspec.json.encode({"step": step}))
    return Draft(kind=draft.kind, id=made, user_id=draft.user_id, org_id=draft.org_id, data=data)


def _draft(
    request: web.Request,
    sender: Sender,
    body: ProgressUpdate | StepClosed | ChecklistSkipped,
    kind: str,
    data: dict[str, Any],
) -> Draft:
    return Draft(
        kind=kind,
        id=updates.key(request, body.id),
        at=None if isinstance(body, ChecklistSkipped) else body.at,
        user_id=who.user(request, sender, body.user_id),
        org_id=body.org_id if body.org_id is not None else sender.org_id,
        data=msgspec.Raw(msgspec.json.encode(data)),
    )


ROUTES: Final = (
    web.get("/v1/onboarding/progress", read_progress),
    web.post("/v1/onboarding/progress/update", update_progress),
    web.get("/v1/onboarding/status", read_status),
    web.post("/v1/onboarding/steps/{step}/complete", _close(COMPLETED)),
    web.post("/v1/onboarding/steps/{step}/skip", _close(SKIPPED)),
    web.post("/v1/onboarding/skip", skip_rest),
)
