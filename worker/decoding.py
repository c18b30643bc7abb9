"""Entries of the log to the items of a batch: what cannot be decoded, or is of somebody erased, goes no further."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from db.stream import Entry, Position
from jobs.action import Action
from jobs.families import BY_KIND
from jobs.privacy.tombstones import Erased
from worker import dead_letters, replies
from worker.applied import Applied, Item
from worker.dead_letters import DeadLetter

_actions: Final = msgspec.msgpack.Decoder(list[Action])
_records: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])
_action: Final = msgspec.msgpack.Decoder(Action)
_ROUTES: Final = {name: kind.decoder.decode for name, (_, kind) in BY_KIND.items()}


def decode(entries: Iterable[Entry], into: Applied, limit: int = 1 << 30) -> None:
    """Entries to items, until they are `limit`; `into` says how far it came.

    What cannot be decoded becomes a dead letter at once, the rest of its entry goes on.
    """
    items, routes = into.items, _ROUTES
    for position, body in entries:
        if len(items) >= limit:
            break
        into.position = position
        into.entries += 1
        try:
            actions = _actions.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            actions = _one_by_one(position, body, into)
        for action in actions:
            try:
                items.append((position, action, routes[action.kind](action.data)))
            except KeyError:
                said = "no family of this version knows the kind"
                into.dead.append(dead_letters.letter(position, action, "unknown_kind", said))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                into.dead.append(dead_letters.letter(position, action, "invalid_data", str(error)))


def _one_by_one(position: Position, body: bytes, into: Applied) -> list[Action]:
    """The good actions of an entry in which something is not one."""
    good: list[Action] = []
    try:
        records = _records.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        into.dead.append(dead_letters.unreadable(position, body, error))
        return good
    for record in records:
        try:
            good.append(_action.decode(record))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            into.dead.append(dead_letters.unreadable(position, bytes(record), error))
    return good


def keep_out(done: Applied, erased: Erased) -> None:
    """Drop what is of somebody erased, before any of it leaves a trace."""
    if not erased:
        return
    items: list[Item] = []
    for position, action, payload in done.items:
        if (cleared := erased.cleared(action)) is not None:
            items.append((position, cleared, payload))
        elif action.reply is not None:
            done.replies.append(replies.erased(action.reply))
    dead = [letter for letter in done.dead if _may_be_buried(letter, erased)]
    done.erased = len(done.items) - len(items) + len(done.dead) - len(dead)
    done.items, done.dead = items, dead


def _may_be_buried(letter: DeadLetter, erased: Erased) -> bool:
    """What is no action is kept: nobody knows whose it is."""
    try:
        return erased.cleared(_action.decode(letter.body)) is not None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
