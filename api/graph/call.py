"""What the resolvers of one GraphQL request share: who asks, in which language, how long to wait, how to say no."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec

from graphql import GraphQLError, GraphQLResolveInfo

from api import errors, messages, who
from api.errors import Problem
from api.rates import Rule
from api.state import State
from jobs.action import Sender

P = ParamSpec("P")
Envelope = dict[str, Any]

TEXTS: Final = {
    "unknown_progress": "progress.not_found",
    "unknown_lesson": "lesson.unknown",
    "unknown_course": "course.unknown",
    "lesson_of_another_course": "lesson.of_another_course",
    "forbidden_subject": "request.forbidden",
}
"""code -> the message that people read; of the others, our own English text."""
_INVALID: Final = frozenset(("invalid_data", "invalid_id", "invalid_parameter", "missing_subject", "bad_text"))


@dataclass(slots=True)
class Call:
    """One operation under way."""

    state: State
    sender: Sender
    language: str
    deadline: float
    """Of the event loop's clock: outcomes are not waited for beyond it."""
    key: str | None = None
    """The Idempotency-Key, of which every mutation of the operation makes its own."""
    headers: dict[str, str] = field(default_factory=dict)
    """For the answer: how much of the rate limits is left."""
    positions: list[str] = field(default_factory=list)
    """Of the actions that were sent."""
    problems: list[Problem] = field(default_factory=list)
    """Why fields failed."""

    def text(self, key: str, **values: object) -> str:
        """A message in the language of the request."""
        return messages.text(self.language, key, **values)

    def seconds(self) -> float:
        """How long to wait for an outcome, now."""
        return max(0.0, self.deadline - asyncio.get_running_loop().time())

    @property
    def own(self) -> str | None:
        """The only user that this sender may see; None: all of them."""
        return self.sender.user_id if self.sender.role == "user" else None

    def user(self, given: str, path: str = "userId") -> str:
        """The user that a field is about. Raises Problem for somebody else's, whether or not they exist."""
        if self.own not in {None, given}:
            raise Problem("forbidden_subject", "a user token reads and writes its own userId only")
        return who.named(given, path)

    async def count(self, rule: Rule, subject: str | None) -> None:
        """Count one field against a rate limit. Raises Problem."""
        if rule in self.state.rates.rules:
            self.headers |= await self.state.rates.check(self.sender, rule, subject or "")


class Field(NamedTuple):
    """A call, seen from one root field."""

    call: Call
    name: str
    """As the answer has it: the alias, if there is one."""


def ok(call: Call, key: str, **fields: Any) -> Envelope:
    """The envelope of what succeeded."""
    return {"success": True, "message": call.text(key), "code": None, **fields}


def no(call: Call, code: str, message: str, path: str | None = None) -> Envelope:
    """The envelope of what did not."""
    if code in TEXTS:
        said = call.text(TEXTS[code])
    elif code in _INVALID and path:
        said = f"{call.text('request.invalid_at', path=path)} {message}"
    elif code in _INVALID:
        said = f"{call.text('request.invalid')} {message}"
    else:
        said = message
    return {"success": False, "message": said, "code": code, "data": None, "items": []}


Resolver = Callable[Concatenate[Field, P], Awaitable[Envelope]]


def resolver(function: Resolver[P]) -> Callable[..., Awaitable[Envelope]]:
    """A root field: what cannot be is an envelope, what may not be or does not work now is an error of GraphQL's."""

    @wraps(function)
    async def resolve(_: object, info: GraphQLResolveInfo[Call], *args: P.args, **kwargs: P.kwargs) -> Envelope:
        call = info.context
        try:
            return await function(Field(call, str(info.path.key)), *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the edge: errors.problem_of logs what is our mistake
            problem = errors.problem_of(error)
        details = problem.details if isinstance(problem.details, dict) else {}
        if problem.status in {404, 422}:
            return no(call, problem.code, problem.message, _argument(details.get("path")))
        call.problems.append(problem)
        message = call.text(TEXTS[problem.code]) if problem.code in TEXTS else problem.message
        raise GraphQLError(message, extensions={"code": problem.code, **details})

    return resolve


def _argument(path: str | None) -> str | None:
    """`$.data.watchTimeSeconds` as people of this API call it."""
    return None if path is None else path.removeprefix("$.data").removeprefix("$").lstrip(".") or None
