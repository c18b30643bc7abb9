"""Whose usage a request is about: a user token's own, or that of the user or organisation that a service names."""

from __future__ import annotations

from typing import NamedTuple

from aiohttp import web

from api import who
from api.errors import Problem
from jobs.action import Sender, is_id


class Subject(NamedTuple):
    """The user, else the organisation; of a user's usage the organisation is a note beside it."""

    user_id: str | None
    org_id: str | None

    @property
    def name(self) -> str:
        """As facts and states have it."""
        return f"user:{self.user_id}" if self.user_id is not None else f"org:{self.org_id}"


def of(request: web.Request, sender: Sender, user_id: str | None = None, org_id: str | None = None) -> Subject:
    """The ids of the body, else of the query, else of the token. Raises Problem 403 or 422."""
    user, org = _given(request, "userId", user_id), _given(request, "orgId", org_id)
    if sender.role == "user":
        for given, own, name in ((user, sender.user_id, "userId"), (org, sender.org_id, "orgId")):
            if given is not None and given != own:
                raise Problem("forbidden_subject", f"a user token reads and writes its own {name} only")
        return Subject(sender.user_id, sender.org_id)
    if user is None and org is None:
        user, org = sender.user_id, sender.org_id
    if user is None and org is None:
        said = "this is about a user or an organisation, and none is named: send userId or orgId"
        raise Problem("missing_subject", said)
    return Subject(user, org)


def _given(request: web.Request, name: str, given: str | None) -> str | None:
    wanted = given if given is not None else request.query.get(name)
    return None if wanted is None else who.named(wanted, name)


def named(text: str) -> Subject:
    """`user:ada` and `org:acme`, as operators name them in an address; without either word it is a user."""
    whose, colon, rest = text.partition(":")
    is_named = bool(colon) and whose in {"user", "org"}
    own = rest if is_named else text
    if not is_id(own):
        said = "a subject is user:… or org:… with an id of 1 to 128 characters without control characters"
        raise Problem("invalid_id", said, details={"path": "subject"})
    return Subject(None, own) if is_named and whose == "org" else Subject(own, None)
