"""One batch of one partition, in one transaction: the numbered steps of docs/architecture.md.

The connection comes from the caller, who owns the transaction and the time-out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec

from db import sql, stream
from db.stream import Entry, Position
from jobs.action import OWN_ID, Action
from jobs.families import BY_KIND
from jobs.family import Facts, Family, Outcome, Row

QUERIES: Final = sql.read("pipe")
_decoder: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])
_action: Final = msgspec.msgpack.Decoder(Action)


class Item(NamedTuple):
    """One action of a batch, its payload decoded."""

    position: Position
    action: Action
    payload: msgspec.Struct


class Reply(NamedTuple):
    """An outcome for a request that waits: `to` is the action's `reply`."""

    to: str
    outcome: Outcome
    duplicate: bool


class DeadLetter(NamedTuple):
    """An action that cannot be applied, with the reason."""

    position: Position
    action_id: str
    kind: str
    subject: str
    code: str
    message: str
    body: bytes


@dataclass(slots=True)
class Applied:
    """What one batch did; all of it is committed or none."""

    position: Position
    items: list[Item] = field(default_factory=list)
    entries: int = 0
    fresh: list[Action] = field(default_factory=list)
    duplicates: list[Action] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    models: list[tuple[str, bytes]] = field(default_factory=list)

    def take(self, other: Applied) -> None:
        """Add what a part of the batch did."""
        self.fresh += other.fresh
        self.duplicates += other.duplicates
        self.replies += other.replies
        self.models += other.models


class Poisoned(Exception):
    """Something in the batch cannot be applied; it is to be isolated."""


class NoDay(Exception):
    """A day's partition of the fact tables is missing; it is to be made, and the batch applied again."""


def decode(entries: Iterable[Entry], into: Applied) -> None:
    """Entries to items; what cannot be decoded becomes a dead letter at once, the rest of its entry goes on."""
    for position, body in entries:
        into.entries += 1
        try:
            records = _decoder.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            into.dead.append(DeadLetter(position, "", "", "", "undecodable", str(error), body))
            continue
        for record in records:
            _decode_record(position, record, into)


def _decode_record(position: Position, record: msgspec.Raw, into: Applied) -> None:
    try:
        action = _action.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        into.dead.append(DeadLetter(position, "", "", "", "undecodable", str(error), bytes(record)))
        return
    found = BY_KIND.get(action.kind)
    if found is None:
        into.dead.append(_dead(position, action, "unknown_kind", "no family of this version knows the kind"))
        return
    try:
        into.items.append(Item(position, action, found[1].decoder.decode(action.data)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        into.dead.append(_dead(position, action, "invalid_data", str(error)))


def _dead(position: Position, action: Action, code: str, message: str) -> DeadLetter:
    text = message.replace("\0", "")[:1000]
    body = msgspec.msgpack.encode(action)
    return DeadLetter(position, action.id, action.kind, action.subject, code, text, body)


async def record(conn: asyncpg.Connection, items: Sequence[Item], since: datetime, replay: bool) -> Applied:
    """Steps 3 to 6 for these items, family by family; raises Poisoned when one of them cannot be applied."""
    done = Applied(stream.START)
    try:
        for family in dict.fromkeys(BY_KIND[item.action.kind][0] for item in items):
            own = [item for item in items if BY_KIND[item.action.kind][0] is family]
            await _record_family(conn, family, own, since, replay, done)
    except asyncpg.CheckViolationError as error:
        if "no partition of relation" in str(error):
            raise NoDay from error
        raise Poisoned(str(error)) from error
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
        raise Poisoned(str(error)) from error
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, AssertionError) as error:
        raise Poisoned(f"{type(error).__name__}: {error}") from error
    return done


async def _record_family(
    conn: asyncpg.Connection, family: Family, items: Sequence[Item], since: datetime, replay: bool, done: Applied
) -> None:
    # 3 record: an id counts once. Ids of ours cannot have come before, except when the log is read again.
    firsts = await _known(conn, family, items, since, replay)
    rows: dict[str, list[Row]] = {}
    new: list[Item] = []
    for item in items:
        action = item.action
        key = (family.table(action.kind).table, action.subject, action.id)
        if key in firsts:
            done.duplicates.append(action)
        else:
            firsts[key] = None
            new.append(item)
    # 4 load, 5 fold: pure, in log order.
    states = await family.load(conn, [item.action for item in new]) if new else None
    fold = family.fold
    for _, action, payload in new:
        folded = fold(states, action, payload)
        firsts[folded.table, action.subject, action.id] = folded.outcome
        rows.setdefault(folded.table, []).append(folded.row)
        done.fresh.append(action)
    for facts in family.facts:
        if facts.table in rows:
            await conn.copy_records_to_table(facts.table, records=rows[facts.table], columns=facts.columns)
    # 6 save.
    if new:
        await family.save(conn, states)
        done.models += family.models(states)
    _reply(family, items, new, firsts, done)


_Firsts = dict[tuple[str, str, str], Any]


async def _known(
    conn: asyncpg.Connection, family: Family, items: Sequence[Item], since: datetime, replay: bool
) -> _Firsts:
    """Which (table, subject, id) were applied before, with their first outcome."""
    asked: dict[str, tuple[Facts, list[str], list[str]]] = {}
    for item in items:
        if replay or not item.action.flags & OWN_ID:
            facts = family.table(item.action.kind)
            _, subjects, ids = asked.setdefault(facts.table, (facts, [], []))
            subjects.append(item.action.subject)
            ids.append(item.action.id)
    known: _Firsts = {}
    for facts, subjects, ids in asked.values():
        for row in await conn.fetch(facts.known, subjects, ids, since):
            known[facts.table, row["subject"], row["id"]] = family.known(row)
    return known


def _reply(family: Family, items: Sequence[Item], new: Sequence[Item], firsts: _Firsts, done: Applied) -> None:
    waiting = [item for item in items if item.action.reply is not None]
    if not waiting:
        return
    counted = {id(item) for item in new}
    for item in waiting:
        action = item.action
        outcome = firsts[family.table(action.kind).table, action.subject, action.id]
        done.replies.append(Reply(action.reply or "", outcome, id(item) not in counted))


async def isolate(
    conn: asyncpg.Connection, items: Sequence[Item], since: datetime, replay: bool, into: Applied
) -> None:
    """Apply what can be applied, halving around what cannot: a poison action costs log2(n) savepoints, blocks nobody."""
    try:
        async with conn.transaction():
            part = await record(conn, items, since, replay)
    except Poisoned as error:
        if len(items) == 1:
            position, action, _ = items[0]
            into.dead.append(_dead(position, action, "poison", str(error)))
            return
        middle = len(items) // 2
        await isolate(conn, items[:middle], since, replay, into)
        await isolate(conn, items[middle:], since, replay, into)
    else:
        into.take(part)


async def bury(conn: asyncpg.Connection, partition: int, dead: Sequence[DeadLetter]) -> None:
    """Write the dead letters."""
    if not dead:
        return
    columns = zip(*((partition, str(letter.position), *letter[1:]) for letter in dead), strict=True)
    await conn.execute(QUERIES["insert_dead_letters"], *map(list, columns))


def since(items: Sequence[Item], days: int) -> datetime:
    """The arrival before which a first copy cannot lie, for ids of up to `days` days."""
    return min(item.action.received_at for item in items) - timedelta(days=days)
