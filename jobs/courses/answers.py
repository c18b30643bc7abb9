"""What services answer to a look-up: plain, in NestJS's packet, or in the envelope of GraphQL services.

`{"id": …}` · `{"response": {"id": …}, "isDisposed": true}` · `{"success": true, "message": …, "data": {"id": …}}`;
`null` in any of them, or an error that says 404 or "not found", means that there is no such thing.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, TypeVar

import msgspec

MOST_BYTES: Final = 1 << 20

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_MISSING: Final = frozenset({"404", "not_found", "notfound"})
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
_Name = Annotated[str, msgspec.Meta(max_length=500)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=10_000_000)]


class NoAnswer(Exception):
    """Nobody could say: NATS or the service is away, too slow, or answers what cannot be read. It may exist or not."""


class Lesson(msgspec.Struct, rename="camel", frozen=True):
    """A lesson as its service tells it; inside of a course, `course_id` may be missing."""

    id: _Id
    title: _Name = ""
    course_id: _Id | None = None
    duration_seconds: _Seconds | None = None


class Course(msgspec.Struct, rename="camel", frozen=True):
    """A course as its service tells it, its lessons in their order."""

    id: _Id
    title: _Name = ""
    lessons: tuple[Lesson, ...] = ()


class User(msgspec.Struct, rename="camel", frozen=True):
    """A user as their service tells them; `display` is the name to show."""

    id: _Id
    name: _Name | None = None
    full_name: _Name | None = None
    first_name: _Name | None = None
    last_name: _Name | None = None

    @property
    def display(self) -> str | None:
        """The whole name; None when there is none."""
        parts = " ".join(part for part in (self.first_name, self.last_name) if part)
        return self.full_name or self.name or parts or None


Found = TypeVar("Found", Course, Lesson, User)


def read(body: bytes, wanted: str, form: type[Found]) -> Found | None:
    """An answer as what it stands for; None is its service's word for "there is none". Raises NoAnswer."""
    if len(body) > MOST_BYTES:
        raise NoAnswer(f"an answer of {len(body)} bytes is too long")
    try:
        inside = _opened(msgspec.json.decode(body))
        found = None if inside is None else msgspec.convert(_plain(inside), form)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise NoAnswer(f"an answer that cannot be read: {error}") from None
    if found is not None and found.id != wanted:
        raise NoAnswer("the answer is about another id")
    return found


def _opened(answer: Any) -> Any:
    """What is inside the envelopes; None: there is no such thing."""
    if isinstance(answer, dict) and ("isDisposed" in answer or "err" in answer):
        if answer.get("err") is not None:
            return _refused(answer["err"])
        answer = answer.get("response")
    if not isinstance(answer, dict) or "id" in answer:
        return answer
    if answer.get("success") is False or answer.get("error") is not None or "statusCode" in answer:
        return _refused(answer)
    return answer.get("data", answer)


def _refused(error: Any) -> None:
    """None when the error says "not found", and NoAnswer for all others."""
    said = [error]
    if isinstance(error, dict):
        said = [error.get(name) for name in ("statusCode", "status", "code", "error")]
        said += [inner.get("code") for inner in said if isinstance(inner, dict)]
    if not any(str(one).lower().replace(" ", "_") in _MISSING for one in said if isinstance(one, (str, int))):
        raise NoAnswer("the service answered with an error")


def _plain(inside: Any) -> Any:
    """Numbers that are ids as text, and text without control characters: Postgres takes no NUL."""
    if isinstance(inside, list):
        return [_plain(one) for one in inside]
    if not isinstance(inside, dict):
        return inside
    return {name: _field(name, value) for name, value in inside.items()}


def _field(name: str, value: Any) -> Any:
    if name in {"id", "courseId"}:
        return str(value) if isinstance(value, int) else value
    if isinstance(value, str):
        return _CONTROL.sub(" ", value).strip()
    return _plain(value) if name == "lessons" else value
