"""What operators say of one subject: its plan, limits of its own, zone and billing, corrections with a reason."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from api import answer, form, reads, updates
from api.errors import Problem
from api.state import STATE, State
from api.usage import held, in_force, subjects
from api.usage.subjects import Subject
from jobs.action import Draft, Sender
from jobs.usage import view
from jobs.usage.kinds import Delta, Moment, Name, PlanWord, Zone
from jobs.usage.model import Model
from jobs.usage.plan_catalog import Most
from jobs.usage.plans import Plans


class _Body(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    id: str | None = None


class SubjectPlan(_Body):
    """Body of POST /v1/admin/subjects/{subject}/plan: an upgrade at once, a downgrade when the period ends."""

    plan: PlanWord
    effective_at: Moment | None = None


class SubjectLimit(_Body):
    """Body of PUT /v1/admin/subjects/{subject}/limits/{action}: null is unlimited, 0 off."""

    limit: Most | None
    hard: bool = True
    overage_cap: Most | None = None


class SubjectAccount(_Body):
    """Body of PUT /v1/admin/subjects/{subject}/account; it holds from the next period on."""

    zone: Zone | None = None
    billing: Literal["calendar", "anniversary"] | None = None
    anchor_at: Moment | None = None


class Adjustment(_Body):
    """Body of POST /v1/admin/subjects/{subject}/adjustments; `at` says in which period."""

    action: Name
    quantity: Delta
    reason: Annotated[str, Meta(min_length=1, max_length=500)]
    at: datetime | None = None


_plan: Final = msgspec.json.Decoder(SubjectPlan)
_limit: Final = msgspec.json.Decoder(SubjectLimit)
_account: Final = msgspec.json.Decoder(SubjectAccount)
_adjustment: Final = msgspec.json.Decoder(Adjustment)
_ENVELOPE: Final = ("id", "at")


async def set_plan(request: web.Request) -> web.Response:
    """POST …/plan."""
    state, sender, subject = await _operator(request)
    body = await form.read(request, _plan)
    await _check_plan(state, body.plan)
    return await _sent(request, state, sender, subject, "plan.changed", body.id, form.given(body, _ENVELOPE))


async def set_limit(request: web.Request) -> web.Response:
    """PUT …/limits/{action}."""
    state, sender, subject = await _operator(request)
    body = await form.read(request, _limit)
    data = form.given(body, _ENVELOPE) | {"action": request.match_info["action"], "limit": body.limit}
    return await _sent(request, state, sender, subject, "usage.limits_set", body.id, data)


async def remove_limit(request: web.Request) -> web.Response:
    """DELETE …/limits/{action}: the plan's again."""
    state, sender, subject = await _operator(request)
    data = {"action": request.match_info["action"], "removed": True}
    return await _sent(request, state, sender, subject, "usage.limits_set", None, data)


async def set_account(request: web.Request) -> web.Response:
    """PUT …/account."""
    state, sender, subject = await _operator(request)
    body = await form.read(request, _account)
    return await _sent(request, state, sender, subject, "usage.account_set", body.id, form.given(body, _ENVELOPE))


async def adjust(request: web.Request) -> web.Response:
    """POST …/adjustments."""
    state, sender, subject = await _operator(request)
    body = await form.read(request, _adjustment)
    return await _sent(request, state, sender, subject, "usage.adjusted", body.id, form.given(body, _ENVELOPE), body.at)


async def read(request: web.Request) -> web.Response:
    """GET /v1/admin/subjects/{subject}: what `current` shows, with its own limits, zone and billing."""
    state, _, subject = await _operator(request)
    reached = await reads.after(request, state)

    def told(model: Model, now: datetime) -> dict[str, Any]:
        rule = model.rules[-1]
        account = {"zone": rule.zone, "billing": rule.billing, "day": rule.day, "since": rule.begins}
        shown = view.view(model, state.plans, state.catalog, now)
        return {"subject": subject.name, **shown, "overrides": model.overrides, "account": account}

    found = await held.ask(state, subject.name, told)
    return reads.answer(request, msgspec.json.encode(found), reached)


async def _operator(request: web.Request) -> tuple[State, Sender, Subject]:
    state = request.app[STATE]
    sender = await state.auth.sender(request, "admin")
    return state, sender, subjects.named(request.match_info["subject"])


async def _check_plan(state: State, name: str) -> None:
    """Raises Problem 422. A plan that was made just now may not have come here yet."""
    if name in state.plans or name in Plans(await in_force.read(state.pool), state.catalog):
        return
    said = f"there is no plan {name!r}; there are {', '.join(state.plans.names()[:20])}"
    raise Problem("unknown_plan", said, details={"path": "$.plan"})


async def _sent(
    request: web.Request,
    state: State,
    sender: Sender,
    subject: Subject,
    kind: str,
    given: str | None,
    data: dict[str, Any],
    at: datetime | None = None,
) -> web.Response:
    """200 with the outcome, 202 when that takes longer than `wait`."""
    wait = updates.seconds(request)
    draft = Draft(
        *(kind, updates.key(request, given), at, subject.user_id),
        org_id=subject.org_id,
        data=msgspec.Raw(msgspec.json.encode(data)),
    )
    update = await updates.send(state, sender, draft, wait, "$")
    if update.outcome is None:
        return updates.accepted(update, {"id": update.action.id})
    told = {"subject": subject.name, **update.outcome, "id": update.action.id}
    return answer.fresh(told)


ROUTES: Final = (
    web.get("/v1/admin/subjects/{subject}", read),
    web.post("/v1/admin/subjects/{subject}/plan", set_plan),
    web.put("/v1/admin/subjects/{subject}/limits/{action}", set_limit),
    web.delete("/v1/admin/subjects/{subject}/limits/{action}", remove_limit),
    web.put("/v1/admin/subjects/{subject}/account", set_account),
    web.post("/v1/admin/subjects/{subject}/adjustments", adjust),
)
