"""Meters as requests name them."""

from __future__ import annotations

from aiohttp import web

from api import errors
from api.errors import Problem
from api.state import State


def of(request: web.Request, state: State) -> str | None:
    """`?action=`. Raises Problem 422 when the catalog has no such meter."""
    given = request.query.get("action")
    if given is not None and given not in {meter.name for meter in state.catalog.meters}:
        raise unknown(state, given)
    return given


def demanded(request: web.Request, state: State) -> str:
    """The same; Problem 400 when none is named."""
    given = of(request, state)
    if given is None:
        raise errors.parameter("action", "say of which meter: action=DIAGRAM_UPLOAD")
    return given


def unknown(state: State, action: str, path: str = "action") -> Problem:
    """422, with the meters that there are."""
    names = ", ".join(meter.name for meter in state.catalog.meters[:20])
    said = f"no meter {action[:64]!r}; the catalog has {names}"
    return Problem("unknown_meter", said, details={"path": path})
