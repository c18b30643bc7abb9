"""An action: what a client sends (Draft), and what the log carries (Action). The rules between them: jobs/door.py."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Final, Literal

import msgspec

Role = Literal["user", "service", "admin"]

CLAMPED: Final = 1
"""Flag: `at` lay more than 5 minutes ahead, and was set to the time of arrival."""
LATE: Final = 2
"""Flag: `at` lies more than 35 days back."""
OWN_ID: Final = 4
"""Flag: the id is ours, so that no client can have sent it before."""

OURS: Final = "\x1f"
"""Ids of our follow-ups begin with it, which ids of clients cannot: nobody can use one up before it comes."""

BOT: Final = 16
"""Flag: a declared bot did it. Families have 8 for themselves."""

_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,128}")
_PATH = re.compile(r"(.*?) - at `(?:key in )?(\$.*)`$", re.DOTALL)
_EMPTY: Final = msgspec.Raw(b"{}")
_VARIANT: Final = 0b10 << 62
_RANDOM: Final = ~(0b11 << 62)


class Draft(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """One action as a client sends it: docs/actions.md."""

    kind: str = ""
    id: str | None = None
    at: datetime | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    org_id: str | None = None
    data: msgspec.Raw = _EMPTY


class Action(msgspec.Struct, array_like=True, gc=False):
    """One accepted action as the log carries it: a MessagePack array; new fields go to the end."""

    id: str
    kind: str
    subject: str
    at: Annotated[datetime, msgspec.Meta(tz=True)]
    received_at: Annotated[datetime, msgspec.Meta(tz=True)]
    flags: int
    data: bytes
    user_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    org_id: str | None = None
    reply: str | None = None


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: `name` for limits and logs, and for a user token the only subject it may write."""

    name: str
    role: Role
    scopes: frozenset[str]
    user_id: str | None = None
    org_id: str | None = None


class Rejected(Exception):
    """One action is refused: a stable code, a message for people, the path of what is wrong, its id if it had one."""

    def __init__(self, code: str, message: str, path: str | None = None, action_id: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.path, self.id = code, message, path, action_id


def is_id(value: object) -> bool:
    """Whether this is an id as clients may choose them: text of 1 to 128 characters, no control character."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def new_id(now: datetime) -> str:
    """A UUIDv7 (RFC 9562) as text: ours sort by time, so that the index of their day grows at its end."""
    # 76 bits: 12 beside the version, the variant (binary 10), 62.
    text = f"{random.getrandbits(76) & _RANDOM | _VARIANT:019x}"
    return f"{_moment(now)}{text[:3]}-{text[3:7]}-{text[7:]}"


@lru_cache(maxsize=4)
def _moment(now: datetime) -> str:
    """All that the ids of one turn of the loop share: the milliseconds and the version."""
    text = f"{int(now.timestamp() * 1000):012x}"
    return f"{text[:8]}-{text[8:]}-7"


def explain(error: msgspec.ValidationError, root: str = "$") -> tuple[str, str]:
    """msgspec's message as (message, path), the path below `root`."""
    found = _PATH.match(str(error))
    return (found[1], root + found[2][1:]) if found else (str(error), root)
