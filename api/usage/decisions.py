"""Usage as products send it: tracked, which never fails for a limit; or decided, by the one writer of a subject.

A decision that did not come in time is 503 with the id of its action: the same again gets that decision, never another.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from api import answer, form, updates
from api.auth import senders
from api.errors import Problem
from api.state import STATE, State
from api.updates import Update
from api.usage import subjects
from jobs.action import Draft, Sender, is_id
from jobs.kind import Id
from jobs.usage.kinds import DEFAULT_TTL, MAX_TTL, Delta, Name, Positive
from jobs.usage.plan_catalog import Most


class _Body(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What every body may have; `id` makes a retry count once, and a service names the subject."""

    id: str | None = None
    user_id: str | None = None
    org_id: str | None = None


class UsageTracked(_Body):
    """Body of POST /v1/usage/track. Less than 0 only for a gauge; `at` says in which period."""

    action: Name
    quantity: Delta = 1
    resource_id: Id | None = None
    metadata: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    at: datetime | None = None


class UsageConsumed(_Body):
    """Body of POST /v1/usage/consume; `fileSize` in bytes is held against the plan's."""

    action: Name
    quantity: Positive = 1
    resource_id: Id | None = None
    file_size: Most | None = None
    metadata: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class UsageReserved(UsageConsumed):
    """Body of POST /v1/usage/reserve; `ttl` in seconds."""

    ttl: Annotated[int, Meta(ge=1, le=MAX_TTL)] = DEFAULT_TTL


class ReservationCommitted(_Body):
    """Body of POST /v1/usage/reservations/{reservationId}/commit, which may be left out: all of it."""

    quantity: Positive | None = None


class ReservationReleased(_Body):
    """Body of POST /v1/usage/reservations/{reservationId}/release, which may be left out."""


_ENVELOPE: Final = ("id", "user_id", "org_id", "at")
_tracked: Final = msgspec.json.Decoder(UsageTracked)
_consumed: Final = msgspec.json.Decoder(UsageConsumed)
_reserved: Final = msgspec.json.Decoder(UsageReserved)
_committed: Final = msgspec.json.Decoder(ReservationCommitted)
_released: Final = msgspec.json.Decoder(ReservationReleased)


async def track(request: web.Request) -> web.Response:
    """POST /v1/usage/track: 202 as soon as it is durable; with `wait` 200 and what was counted in which period."""
    state, sender, wait = await updates.begin(request, 0.0)
    body = await form.read(request, _tracked)
    update, limits = await _sent(request, state, sender, "usage.recorded", body, wait, at=body.at)
    if update.outcome is None:
        accepted = updates.accepted(update, {"id": update.action.id})
        accepted.headers.update(limits)
        return accepted
    return _answer(update, limits)


async def consume(request: web.Request) -> web.Response:
    """POST /v1/usage/consume: counted if it is allowed."""
    state, sender, wait = await _begin(request)
    body = await form.read(request, _consumed)
    return _decided(*await _sent(request, state, sender, "usage.consumed", body, wait))


async def reserve(request: web.Request) -> web.Response:
    """POST /v1/usage/reserve: held for `ttl` seconds if it is allowed."""
    state, sender, wait = await _begin(request)
    body = await form.read(request, _reserved)
    return _decided(*await _sent(request, state, sender, "usage.reserved", body, wait))


async def commit(request: web.Request) -> web.Response:
    """POST …/commit: what was reserved is used, or a part of it; the rest is free again."""
    state, sender, wait = await _begin(request)
    body = await form.read(request, _committed) if request.can_read_body else ReservationCommitted()
    more = {"reservationId": _reservation(request)}
    return _decided(*await _sent(request, state, sender, "usage.committed", body, wait, more))


async def release(request: web.Request) -> web.Response:
    """POST …/release: nothing of it is used."""
    state, sender, wait = await _begin(request)
    body = await form.read(request, _released) if request.can_read_body else ReservationReleased()
    more = {"reservationId": _reservation(request)}
    return _decided(*await _sent(request, state, sender, "usage.released", body, wait, more))


async def _begin(request: web.Request) -> tuple[State, Sender, float]:
    """A decision is waited for, and tells how the subject stands."""
    state = request.app[STATE]
    sender = await state.auth.sender(request, "ingest")
    senders.require(sender, "read")
    wait = updates.seconds(request)
    if not wait:
        raise Problem("invalid_parameter", "a decision has to be waited for: wait is more than 0")
    return state, sender, wait


def _reservation(request: web.Request) -> str:
    found = request.match_info["reservationId"]
    if not is_id(found):
        raise Problem("unknown_reservation", "there is no such reservation: it has the id that `reserve` answered")
    return found


async def _sent(
    request: web.Request,
    state: State,
    sender: Sender,
    kind: str,
    body: _Body,
    wait: float,
    more: Mapping[str, Any] | None = None,
    *,
    at: datetime | None = None,
) -> tuple[Update, dict[str, str]]:
    subject = subjects.of(request, sender, body.user_id, body.org_id)
    limits = await state.rates.check(sender, "usage", subject.name)
    draft = Draft(
        kind=kind,
        id=updates.key(request, body.id),
        at=at,
        user_id=subject.user_id,
        org_id=subject.org_id,
        data=msgspec.Raw(msgspec.json.encode(form.given(body, _ENVELOPE) | dict(more or {}))),
    )
    return await updates.send(state, sender, draft, wait, "$"), limits


def _decided(update: Update, limits: dict[str, str]) -> web.Response:
    if update.outcome is None:
        raise Problem(
            "undecided",
            "no decision came in time: send the same again with this id, and you get it; nothing counts twice",
            details={"id": update.action.id, "position": update.position},
        )
    return _answer(update, limits)


def _answer(update: Update, limits: dict[str, str]) -> web.Response:
    body = (update.outcome or {}) | {"id": update.action.id}
    return answer.fresh(body, limits)
