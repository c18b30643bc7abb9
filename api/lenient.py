"""What strict JSON refuses whole but clients do send: NaN, Infinity, lone surrogates, bytes that are not UTF-8.

One such action must not fail its batch: the body is read as Python reads JSON, and cut into the bytes of each action.
"""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple

from jobs.action import Rejected, is_id


class Piece(NamedTuple):
    """One action: its own bytes, and what a lenient reader makes of them."""

    source: bytes
    value: object


class _Constant:
    """NaN, Infinity or -Infinity."""

    def __init__(self, name: str) -> None:
        self.name = name


# Numbers are judged from the bytes of their action: Python would round them, and reads no integer of 4,301 digits.
_decoder: Final = json.JSONDecoder(parse_constant=_Constant, parse_int=lambda _: 0, parse_float=lambda _: 0.0)
_ACTIONS: Final = re.compile(r'\s*\{\s*"actions"\s*:\s*\[')
_SPACE: Final = re.compile(r"[ \t\n\r]*")


def read(body: bytes) -> tuple[list[Piece], bool]:
    """The actions of a body, and whether it is a batch. Raises ValueError for no JSON, RecursionError for too deep."""
    text = body.decode("utf-8", "surrogateescape")
    value = _decoder.decode(text)
    if isinstance(value, dict) and isinstance(value.get("actions"), list):
        return _elements(text), True
    return [Piece(body, value)], False


def one(source: bytes) -> Piece:
    """One action by itself, whatever it holds. Raises as `read` does."""
    return Piece(source, _decoder.decode(source.decode("utf-8", "surrogateescape")))


def has_more(body: bytes, limit: int) -> bool:
    """Whether a batch holds more than `limit` actions; reads no further than these. False for what is no JSON."""
    text = body.decode("utf-8", "surrogateescape")
    found = _ACTIONS.match(text)
    if found is None:
        return False
    try:
        return len(_list(text, found.end() - 1, limit)[0]) > limit
    except (ValueError, IndexError, RecursionError):
        return False


def why(value: object) -> Rejected:
    """Why an action that Python can read is no strict JSON."""
    found = value.get("id") if isinstance(value, dict) else None
    action_id = found if isinstance(found, str) and is_id(found) else None
    try:
        json.dumps(value, ensure_ascii=False, default=_refuse).encode()
    except TypeError:
        return Rejected("not_finite", "NaN and Infinity are not JSON numbers", action_id=action_id)
    except UnicodeEncodeError:
        pass
    reason = "text that is not valid Unicode (a lone surrogate, or bytes that are not UTF-8)"
    return Rejected("bad_text", reason, action_id=action_id)


def _refuse(value: object) -> None:
    raise TypeError(value)


def _elements(text: str) -> list[Piece]:
    """The elements of the last `actions` of an object that is known to be JSON."""
    pieces: list[Piece] = []
    at = _skip(text, 0)
    while text[at] != "}":
        key, at = _decoder.raw_decode(text, _skip(text, at + 1))
        at = _skip(text, _skip(text, at) + 1)
        if key == "actions" and text[at] == "[":
            pieces, at = _list(text, at)
        else:
            _, at = _decoder.raw_decode(text, at)
        at = _skip(text, at)
    return pieces


def _list(text: str, at: int, limit: int | None = None) -> tuple[list[Piece], int]:
    """The elements of the list that begins at `at`, and what follows it; one above `limit` ends it."""
    pieces: list[Piece] = []
    if text[behind := _skip(text, at + 1)] == "]":
        return pieces, behind + 1
    while text[at] != "]" and (limit is None or len(pieces) <= limit):
        start = _skip(text, at + 1)
        value, end = _decoder.raw_decode(text, start)
        pieces.append(Piece(text[start:end].encode("utf-8", "surrogateescape"), value))
        at = _skip(text, end)
    return pieces, at + 1


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()
