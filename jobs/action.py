"""An action: what a client sends (Draft), what the log carries (Action), and every rule of the door between them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

if TYPE_CHECKING:
    from jobs.catalog import Catalog

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

AHEAD: Final = timedelta(minutes=5)
BEHIND: Final = timedelta(days=35)
EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
"""Sessions and periods reckon with times around `at`: it keeps clear of the first and the last year that exist."""
MAX_BYTES: Final = 256 * 1024
"""The largest `data` of one action, in bytes of JSON."""
MAX_DEPTH: Final = 32
MAX_KEYS: Final = 1000

_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,128}")
_PATH = re.compile(r"(.*?) - at `(?:key in )?(\$.*)`$", re.DOTALL)
_EMPTY: Final = msgspec.Raw(b"{}")
_62: Final = (1 << 62) - 1
# A NUL can only come from its escape; an escaped backslash before u0000 is fine.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
# jsonb holds 16,383 digits behind the point: neither of the two alone or together passes that.
_FAR = re.compile(rb"[eE]-\d{4}|[\d.]{15000}")


class Draft(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """One action as a client sends it, see CONTRACTS section 2."""

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


@dataclass(frozen=True, slots=True)
class Kind:
    """What an action may be: its payload, whose state it changes, who may send it, whether load may drop it.

    The fields of the payload named in `objects` and `any_json` are free JSON: msgspec.Raw, empty when not given.
    """

    name: str
    payload: type[msgspec.Struct]
    subject: Callable[[Draft], str | None]
    senders: frozenset[Role]
    sheddable: bool = False
    objects: tuple[str, ...] = ()
    any_json: tuple[str, ...] = ()
    check: Callable[[Any, Catalog], None] | None = None
    """A rule that needs the catalog: (payload, catalog), raises Rejected."""
    restrict: Callable[[Any, Role], None] | None = None
    """A rule about who may say what in the payload: (payload, role), raises Rejected."""
    decoder: msgspec.json.Decoder[Any] = None  # type: ignore[assignment]

    free: tuple[tuple[str, bool, bool], ...] = ()
    """(name in JSON, must be an object, must be given) of each field that is free JSON."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "decoder", msgspec.json.Decoder(self.payload))
        fields = {field.name: field for field in msgspec.structs.fields(self.payload)}
        free = tuple(
            (fields[name].encode_name, name in self.objects, fields[name].required)
            for name in self.objects + self.any_json
        )
        object.__setattr__(self, "free", free)


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
    # 74 random bits: 12 beside the version, 62 beside the variant (binary 10).
    number = random.getrandbits(74)
    text = f"{int(now.timestamp() * 1000):012x}7{number >> 62:03x}{number & _62 | 1 << 63:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def explain(error: msgspec.ValidationError, root: str = "$") -> tuple[str, str]:
    """msgspec's message as (message, path), the path below `root`."""
    found = _PATH.match(str(error))
    return (found[1], root + found[2][1:]) if found else (str(error), root)


def accept(draft: Draft, kinds: Mapping[str, Kind], sender: Sender, now: datetime, catalog: Catalog) -> Action:
    """Apply every rule of the door to one draft; raises Rejected. `now` is the time of arrival, aware, UTC."""
    kind = kinds.get(draft.kind)
    if kind is None:
        raise Rejected("unknown_kind", f"no kind {draft.kind[:128]!r}; GET /v1/kinds lists them", "$.kind")
    if sender.role not in kind.senders:
        raise Rejected("forbidden_kind", f"a {sender.role} may not send {kind.name}", "$.kind")
    if sender.role == "user":
        _own(draft, sender)
    _check_ids(draft)
    flags = 0
    if draft.id is None:
        draft.id, flags = new_id(now), OWN_ID
    subject = kind.subject(draft)
    if subject is None:
        raise Rejected("missing_subject", f"{kind.name} needs the id of its subject")
    at, late = _time(draft.at, now)
    data = bytes(draft.data)
    payload = _check_data(kind, data)
    if kind.check is not None:
        kind.check(payload, catalog)
    if kind.restrict is not None:
        kind.restrict(payload, sender.role)
    return Action(
        draft.id,
        kind.name,
        subject,
        at,
        now,
        flags | late,
        data,
        draft.user_id,
        draft.anonymous_id,
        draft.session_id,
        draft.org_id,
    )


def _own(draft: Draft, sender: Sender) -> None:
    for given, own, path in ((draft.user_id, sender.user_id, "userId"), (draft.org_id, sender.org_id, "orgId")):
        if given is not None and given != own:
            raise Rejected("forbidden_subject", f"a user token writes its own {path} only", f"$.{path}")
    draft.user_id = sender.user_id
    draft.org_id = sender.org_id


def _check_ids(draft: Draft) -> None:
    # Field by field: a loop over pairs took longer than all the rest of the door's rules.
    if (value := draft.session_id) is not None:
        if not is_id(value):
            raise _bad_id("sessionId")
        if value.startswith("auto:"):
            raise Rejected("invalid_id", "sessions auto:… are opened by us; send no sessionId", "$.sessionId")
    if (value := draft.id) is not None and not is_id(value):
        raise _bad_id("id")
    if (value := draft.user_id) is not None and not is_id(value):
        raise _bad_id("userId")
    if (value := draft.anonymous_id) is not None and not is_id(value):
        raise _bad_id("anonymousId")
    if (value := draft.org_id) is not None and not is_id(value):
        raise _bad_id("orgId")


def _bad_id(name: str) -> Rejected:
    return Rejected("invalid_id", "an id is 1 to 128 characters without control characters", f"$.{name}")


def _time(at: datetime | None, now: datetime) -> tuple[datetime, int]:
    if at is None:
        return now, 0
    if at.tzinfo is None:
        raise Rejected("invalid_action", "a time needs its offset, like 2026-11-21T08:00:00Z", "$.at")
    if at.tzinfo is not UTC:
        try:
            at = at.astimezone(UTC)
        except OverflowError:
            raise Rejected("invalid_action", "a time before year 1 or after 9999", "$.at") from None
    if at > now + AHEAD:
        return now, CLAMPED
    if at < EARLIEST:
        raise Rejected("invalid_action", "a time before 1900", "$.at")
    return at, LATE if at < now - BEHIND else 0


def _check_data(kind: Kind, data: bytes) -> Any:
    if len(data) > MAX_BYTES:
        raise Rejected("too_large", f"data of {len(data)} bytes; {MAX_BYTES} are the limit", "$.data")
    try:
        payload = kind.decoder.decode(data)
        if b"\\u0000" in data and _NUL.search(data):
            raise Rejected("bad_text", "text with a NUL character", "$.data")
        if kind.free:
            _check_free(kind, data)
    except msgspec.ValidationError as error:
        raise Rejected("invalid_data", *explain(error, "$.data")) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Rejected("bad_text", "text that is not valid Unicode", "$.data") from None
    except RecursionError:
        raise Rejected("too_deep", f"data nested deeper than {MAX_DEPTH}", "$.data") from None
    return payload


def _check_free(kind: Kind, data: bytes) -> None:
    """Free JSON goes to jsonb as it stands: finite numbers, valid text, bounded depth and keys.

    All of `data` is looked at, since the payload holds only the last of several fields of one name.
    """
    value = msgspec.json.decode(data)
    if (b"e-" in data or b"E-" in data or len(data) > 15_000) and _FAR.search(data):
        json.loads(data.decode(), parse_float=_near, parse_int=_near)
    # Counting bytes bounds both from above, so that ordinary data needs no walk.
    may_be_deep, may_be_many = data.count(b"{") + data.count(b"[") > MAX_DEPTH, data.count(b":") > MAX_KEYS
    for name, is_object, required in kind.free:
        item = value.get(name)
        if is_object and not isinstance(item, dict) and (required or item is not None):
            raise Rejected("invalid_data", "Expected `object`", f"$.data.{name}")
        if may_be_deep and _depth(item) > MAX_DEPTH:
            raise Rejected("too_deep", f"nested deeper than {MAX_DEPTH}", f"$.data.{name}")
        if may_be_many and _keys(item) > MAX_KEYS:
            raise Rejected("too_many_keys", f"more than {MAX_KEYS} keys", f"$.data.{name}")


def _near(number: str) -> None:
    """Refuse a number that jsonb cannot hold."""
    mantissa, _, exponent = number.lower().partition("e")
    if len(mantissa) >= 15_000 or (exponent and int(exponent) < -1000):
        raise Rejected("invalid_data", "Number out of range", "$.data")


def _children(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [child for item in level for child in _children(item)]
    return depth


def _keys(value: object) -> int:
    own = len(value) if isinstance(value, dict) else 0
    return own + sum(_keys(child) for child in _children(value))
