"""Who asks, and whose state it is about: a user token's own subject, or the one that a service names."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from api.errors import Problem
from api.state import STATE, State
from jobs.action import Sender, is_id

_WORDS: Final = {"userId": "a user", "orgId": "an organisation"}


async def operator(request: web.Request) -> State:
    """The state, for those who may administer. Raises Problem 401, 403."""
    state = request.app[STATE]
    await state.auth.sender(request, "admin")
    return state


async def reader(request: web.Request) -> tuple[State, Sender]:
    """The state, and who reads. Raises Problem 401, 403."""
    state = request.app[STATE]
    known = state.auth.believed(request, "read", state.clock.seconds())
    return state, known or await state.auth.sender(request, "read")


def user(request: web.Request, sender: Sender, given: str | None = None) -> str:
    """The user id: the token's, else `given` (a body's field), else `?userId=`. Raises Problem 403 or 422."""
    return _own("userId", request, sender, sender.user_id, given)


def org(request: web.Request, sender: Sender, given: str | None = None) -> str:
    """The organisation's id: the token's `org_id`, else `given`, else `?orgId=`. Raises Problem 403 or 422."""
    return _own("orgId", request, sender, sender.org_id, given)


def named(given: str, path: str) -> str:
    """An id as clients may choose them. Raises Problem 422."""
    if not is_id(given):
        raise Problem("invalid_id", "an id is 1 to 128 characters without control characters", details={"path": path})
    return given


def _own(name: str, request: web.Request, sender: Sender, own: str | None, given: str | None) -> str:
    wanted = given if given is not None else request.query.get(name)
    if wanted is not None:
        named(wanted, name)
        if sender.role == "user" and wanted != own:
            raise Problem("forbidden_subject", f"a user token reads and writes its own {name} only")
        return wanted
    if own is None:
        how = "the token has no org_id claim" if sender.role == "user" else f"send ?{name}= with a service key"
        raise Problem("missing_subject", f"this is about {_WORDS[name]}, and none is named: {how}")
    return own
