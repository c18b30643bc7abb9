"""From the bytes of a request to drafts: one action, `{"actions": […]}` or NDJSON, each action judged by itself."""

from __future__ import annotations

import json
from typing import Final

import msgspec

from jobs.action import Draft, Rejected, explain

MAX_ACTIONS: Final = 1000
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


_body: Final = msgspec.json.Decoder(_Body)
_raw: Final = msgspec.json.Decoder(_Raw)
_draft: Final = msgspec.json.Decoder(Draft)


def parse(body: bytes) -> list[Parsed]:
    """A JSON body; raises Malformed when it is no JSON, empty, or holds more than 1,000 actions."""
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
    if whole.kind:
        raise Malformed("invalid_body", "send one action, or {\"actions\": […]}, not both", is_json=True)
    _bound(len(whole.actions))
    return list(whole.actions)


def parse_lines(body: bytes) -> list[Parsed]:
    """NDJSON: one action a line, empty lines skipped; a line that is no JSON is rejected by itself."""
    lines = [line for line in body.split(b"\n") if line and not line.isspace()]
    _bound(len(lines))
    return [_line(line) for line in lines]


def _bound(number: int) -> None:
    if number == 0:
        raise Malformed("empty_batch", "there is no action in the body", is_json=True)
    if number > MAX_ACTIONS:
        raise Malformed("too_many_actions", f"{number} actions; {MAX_ACTIONS} are the limit of one request")


def _line(line: bytes) -> Parsed:
    try:
        return _draft.decode(line)
    except msgspec.ValidationError as error:
        return Rejected("invalid_action", *explain(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _strict(_loads(line))
    except Malformed as error:
        return Rejected(error.code, error.message)


def _decoded(raw: bytes | msgspec.Raw) -> Parsed:
    try:
        return _draft.decode(raw)
    except msgspec.ValidationError as error:
        return Rejected("invalid_action", *explain(error))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Rejected("bad_text", "text that is not valid Unicode")
    except RecursionError:
        return Rejected("too_deep", "the action is nested too deep")


def _one_by_one(body: bytes, error: msgspec.ValidationError) -> list[Parsed]:
    """Valid JSON in which something is wrong: find which actions are."""
    try:
        actions = _raw.decode(body).actions
    except msgspec.ValidationError as whole:
        if b'"actions"' in body and "actions" in str(whole):
            message, path = explain(whole)
            raise Malformed("invalid_body", f"{message} at {path}", is_json=True) from None
        return [Rejected("invalid_action", *explain(error))]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _lenient(body)
    _bound(len(actions))
    return [_decoded(action) for action in actions]


def _lenient(body: bytes) -> list[Parsed]:
    """What strict JSON refuses whole but clients do send: NaN, Infinity, lone surrogates. Each action by itself."""
    value = _loads(body)
    actions = value.get("actions") if isinstance(value, dict) else None
    if isinstance(actions, list):
        _bound(len(actions))
        return [_strict(action) for action in actions]
    return [_strict(value)]


def _loads(body: bytes) -> object:
    try:
        value: object = json.loads(body.decode("utf-8", "surrogateescape"), parse_constant=_Constant)
    except RecursionError:
        raise Malformed("too_deep", "nested too deep") from None
    except ValueError as error:
        raise Malformed("malformed_json", f"no JSON: {error}") from None
    return value


class _Constant:
    def __init__(self, name: str) -> None:
        self.name = name


def _strict(value: object) -> Parsed:
    """One action of a lenient body, again as strict JSON, or why it cannot be."""
    try:
        raw = json.dumps(value, ensure_ascii=False, allow_nan=False, default=_refuse).encode()
    except UnicodeEncodeError:
        return Rejected("bad_text", "text that is not valid Unicode (a lone surrogate, or bytes that are not UTF-8)")
    except (ValueError, RecursionError):
        return Rejected("not_finite", "NaN and Infinity are not JSON numbers")
    return _decoded(raw)


def _refuse(value: object) -> None:
    raise ValueError(value)
