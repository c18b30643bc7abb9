"""Usage as products ask for it: what is allowed, where everything stands. Advisory, and from the cache."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

from api import errors, reads, who
from api.state import State
from api.usage import analytics, decisions, held, meters, subjects
from api.usage.subjects import Subject
from jobs.action import Sender
from jobs.usage import view
from jobs.usage.kinds import MOST

LARGEST: Final = 1_000_000_000_000_000
"""Bytes of a file."""


async def check(request: web.Request) -> web.Response:
    """GET /v1/usage/check?action=&quantity=&fileSize=: what a decision would say now; nothing is counted."""
    state, _, subject, limits = await reader(request)
    action = meters.demanded(request, state)
    quantity, size = number(request, "quantity", 1, MOST), number(request, "fileSize", 0, LARGEST)
    reached = await reads.after(request, state)
    asked = (state.plans, state.catalog)
    try:
        found = await held.ask(
            *(state, subject.name),
            lambda model, now: view.check(model, *asked, now, action, 1 if quantity is None else quantity, size),
        )
    except KeyError:
        raise meters.unknown(state, action) from None
    if "error" in found:
        found["reason"] = found.pop("error")
    return reads.answer(request, msgspec.json.encode(found), reached, limits)


async def current(request: web.Request) -> web.Response:
    """GET /v1/usage/current: plan, period, features, and every meter."""
    state, _, subject, limits = await reader(request)
    reached = await reads.after(request, state)
    found = await shown(state, subject.name)
    return reads.answer(request, msgspec.json.encode(found), reached, limits)


async def shown(state: State, subject: str) -> dict[str, Any]:
    """All meters of a subject, as they stand."""
    return await held.ask(state, subject, lambda model, now: view.view(model, state.plans, state.catalog, now))


async def reader(request: web.Request) -> tuple[State, Sender, Subject, dict[str, str]]:
    """Who reads, whose usage, and the headers of the rate limit."""
    state, sender = await who.reader(request)
    subject = subjects.of(request, sender)
    return state, sender, subject, await state.rates.check(sender, "usage", subject.name)


def number(request: web.Request, name: str, least: int, most: int) -> int | None:
    """A whole number of the query. Raises Problem 400 invalid_parameter."""
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and least <= int(text) <= most):
        raise errors.parameter(name, f"{name} is a whole number from {least} to {most}")
    return int(text)


ROUTES: Final = (
    web.post("/v1/usage/track", decisions.track),
    web.get("/v1/usage/check", check),
    web.post("/v1/usage/consume", decisions.consume),
    web.post("/v1/usage/reserve", decisions.reserve),
    web.post("/v1/usage/reservations/{reservationId}/commit", decisions.commit),
    web.post("/v1/usage/reservations/{reservationId}/release", decisions.release),
    web.get("/v1/usage/current", current),
    web.get("/v1/usage/analytics", analytics.read),
)
