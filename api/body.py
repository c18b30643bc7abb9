"""From the bytes of a request to drafts: one action, `{"actions": […]}` or NDJSON, each action judged by itself."""

from __future__ import annotations

import io
import itertools
from typing import Final

import msgspec

from api import lenient
from api.lenient import Piece
from jobs.action import Draft, Rejected, explain, is_id

MAX_ACTIONS: Final = 1000
SUSPICIOUS: Final = 100_000
"""Bytes and commas of a body whose actions are counted before they are read: millions would take gigabytes."""
Parsed = Draft | Rejected


class Malformed(Exception):
    """The whole body is refused: code, message, and whether it is JSON at all."""

    def __init__(self, code: str, message: str, *, is_json: bool = False) -> None:
        super().__init__(message)
        self.code, self.message, self.is_json = code, message, is_json


class _Body(Draft, rename="camel", forbid_unknown_fields=True, gc=False):
    actions: list[Draft] | msgspec.UnsetType = msgspec.UNSET


class _Raw(msgspec.Struct, forbid_unknown_fields=True):
    actions: list[msgspec.Raw]


class _Batch(msgspec.Struct):
    actions: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class _Named(msgspec.Struct):
    id: str | None = None


_BESIDE: Final = ("id", "at", "user_id", "anonymous_id", "session_id", "org_id")

_body: Final = msgspec.json.Decoder(_Body)
_raw: Final = msgspec.json.Decoder(_Raw)
_batch: Final = msgspec.json.Decoder(_Batch)
_draft: Final = msgspec.json.Decoder(Draft)
_named: Final = msgspec.json.Decoder(_Named)


def parse(body: bytes) -> list[Parsed]:
    """A JSON body; raises Malformed when it is no JSON, empty, or holds more than 1,000 actions."""
    if len(body) > SUSPICIOUS and body.count(b",") > SUSPICIOUS and lenient.has_more(body, MAX_ACTIONS):
        raise _too_many()
    try:
        whole = _body.decode(body)
    except msgspec.ValidationError as error:
        return _one_by_one(body, error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _lenient(body)
    except RecursionError:
        raise Malformed("too_deep", "the body is nested too deep") from None
    if whole.actions is msgspec.UNSET:
        return [whole]
    if any(getattr(whole, name) is not None for name in _BESIDE) or whole.kind or bytes(whole.data) != b"{}":
        raise Malformed("invalid_body", 'send one action, or {"actions": […]}, not both', is_json=True)
    _bound(len(whole.actions))
    return list(whole.actions)


def parse_lines(body: bytes) -> list[Parsed]:
    """NDJSON: one action a line, empty lines skipped; a line that is no JSON is rejected by itself."""
    filled = (line for line in io.BytesIO(body) if not line.isspace())
    lines = list(itertools.islice(filled, MAX_ACTIONS + 1))
    _bound(len(lines))
    return [_one(line.rstrip(b"\r\n")) for line in lines]


def _bound(number: int) -> None:
    if number == 0:
        raise Malformed("empty_batch", "there is no action in the body", is_json=True)
    if number > MAX_ACTIONS:
        raise _too_many()


def _too_many() -> Malformed:
    return Malformed("too_many_actions", f"more than {MAX_ACTIONS} actions; that is the limit of one request")


def _one(source: bytes | msgspec.Raw) -> Parsed:
    """One action out of several."""
    try:
        return _draft.decode(source)
    except msgspec.ValidationError as error:
        return _rejected(source, error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _alone(bytes(source))


def _alone(source: bytes) -> Parsed:
    """One action that is no strict JSON."""
    try:
        piece = lenient.one(source)
    except RecursionError:
        return Rejected("too_deep", "the action is nested too deep")
    except ValueError as error:
        return Rejected("malformed_json", f"no JSON: {error}")
    return _decoded(piece)


def _decoded(piece: Piece) -> Parsed:
    try:
        return _draft.decode(piece.source)
    except msgspec.ValidationError as error:
        return _rejected(piece.source, error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return lenient.why(piece.value)
    except RecursionError:
        return Rejected("too_deep", "the action is nested too deep")


def _rejected(raw: bytes | msgspec.Raw, error: msgspec.ValidationError) -> Rejected:
    """An action of another form, by the id that it has all the same."""
    try:
        found = _named.decode(raw).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    return Rejected("invalid_action", *explain(error), action_id=found if is_id(found) else None)


def _one_by_one(body: bytes, error: msgspec.ValidationError) -> list[Parsed]:
    """A body in which something is wrong: find which actions are, or that it is no JSON further on."""
    try:
        if not bytes(_batch.decode(body).actions):
            return [_rejected(body, error)]
        actions = _raw.decode(body).actions
    except msgspec.ValidationError as whole:
        message, path = explain(whole)
        if path == "$" and "unknown field" not in message:
            return [_rejected(body, error)]
        raise Malformed("invalid_body", f"{message} at {path}", is_json=True) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _lenient(body)
    except RecursionError:
        raise Malformed("too_deep", "the body is nested too deep") from None
    _bound(len(actions))
    return [_one(action) for action in actions]


def _lenient(body: bytes) -> list[Parsed]:
    """A body that is no strict JSON: each action by itself."""
    pieces, is_batch = _read(body)
    if is_batch:
        _bound(len(pieces))
    return [_decoded(piece) for piece in pieces]


def _read(body: bytes) -> tuple[list[Piece], bool]:
    try:
        return lenient.read(body)
    except RecursionError:
        raise Malformed("too_deep", "nested too deep") from None
    except ValueError as error:
        raise Malformed("malformed_json", f"no JSON: {error}") from None
