"""The door: every rule between what a client sends (Draft) and what the log takes (Action)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from jobs.action import CLAMPED, LATE, OWN_ID, Action, Draft, Rejected, Sender, explain, is_id, new_id
from jobs.catalog import Catalog
from jobs.kind import Kind

AHEAD: Final = timedelta(minutes=5)
BEHIND: Final = timedelta(days=35)
EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
"""Sessions and periods reckon with times around `at`: it keeps clear of the first and the last year that exist."""
MAX_BYTES: Final = 256 * 1024
"""The largest `data` of one action, in bytes of JSON."""
MAX_DEPTH: Final = 32
MAX_KEYS: Final = 1000

# A NUL can only come from its escape; an escaped backslash before u0000 is fine.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
# jsonb holds 16,383 digits behind the point: neither of the two alone or together passes that.
_FAR = re.compile(rb"[eE]-\d{4}|[\d.]{15000}")


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
