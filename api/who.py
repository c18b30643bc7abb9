"""Whose progress a request is about: a user token's own subject, or the one that a service names."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from api.errors import Problem
from jobs.action import Sender, is_id

_WORDS: Final = {"userId": "a user", "orgId": "an organisation"}


def user(request: web.Request, sender: Sender, given: object = None) -> str:
    """The user id: the token's, else `given` (a body's field), else `?userId=`. Raises Problem 403 or 422."""
    return _own("userId", request, sender, sender.user_id, given)


def org(request: web.Request, sender: Sender, given: object = None) -> str:
    """The organisation's id: the token's `org_id`, else `given`, else `?orgId=`. Raises Problem 403 or 422."""
    return _own("orgId", request, sender, sender.org_id, given)


def _own(name: str, request: web.Request, sender: Sender, own: str | None, given: object) -> str:
    wanted = given if given is not None else request.query.get(name)
    if wanted is not None and not is_id(wanted):
        raise Problem("invalid_id", "an id is 1 to 128 characters without control characters", details={"path": name})
    if sender.role == "user" and wanted is not None and wanted != own:
        raise Problem("forbidden_subject", f"a user token reads and writes its own {name} only")
    if wanted is None:
        wanted = own
    if wanted is None:
        how = "the token has no org_id claim" if sender.role == "user" else f"send ?{name}= with a service key"
        raise Problem("missing_subject", f"this is about {_WORDS[name]}, and none is named: {how}")
    return str(wanted)
