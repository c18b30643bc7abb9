"""One batch of one partition, in one transaction: the numbered steps of docs/architecture.md.

The connection comes from the caller, who owns the transaction and the time-out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

import asyncpg
import msgspec

from db import sql, stream
from db.stream import Entry, Position
from jobs.action import OWN_ID, Action
from jobs.effects import outbox
from jobs.families import BY_KIND, FAMILIES
from jobs.family import NOTHING, Effect, Emitted, Family, Live, Outcome
from jobs.privacy.tombstones import Erased
from worker.seen import ANY, Seen

QUERIES: Final = sql.read("pipe")
_actions: Final = msgspec.msgpack.Decoder(list[Action])
_records: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])
_action: Final = msgspec.msgpack.Decoder(Action)
_ROUTES: Final = {name: kind.decoder.decode for name, (_, kind) in BY_KIND.items()}


T = TypeVar("T")
Item = tuple[Position, Action, msgspec.Struct]
"""One action of a batch with its payload decoded: a plain tuple, since one is made for every action."""


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
    generation: str = ""
    items: list[Item] = field(default_factory=list)
    entries: int = 0
    oldest: datetime | None = None
    """When the first of the items arrived, if there are any."""
    fresh: list[Action] = field(default_factory=list)
    duplicates: list[Action] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    erased: int = 0
    """Actions that were dropped, because whose they are was erased."""
    replies: list[Reply] = field(default_factory=list)
    models: list[tuple[str, bytes]] = field(default_factory=list)
    born: dict[str, list[str]] = field(default_factory=dict)
    """Family -> the subjects of which it had applied nothing before."""
    live: list[Live] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    follow_ups: list[Action] = field(default_factory=list)
    deliveries: list[UUID] = field(default_factory=list)
    """Rows of the outbox to enqueue after the commit."""

    def take(self, other: Applied) -> None:
        """Add what a part of the batch did."""
        self.fresh += other.fresh
        self.duplicates += other.duplicates
        self.replies += other.replies
        self.models += other.models
        for family, subjects in other.born.items():
            self.born.setdefault(family, []).extend(subjects)
        self.dead += other.dead
        self.live += other.live
        self.effects += other.effects
        self.follow_ups += other.follow_ups
        self.deliveries += other.deliveries


class Poisoned(Exception):
    """Something in the batch cannot be applied; it is to be isolated."""


class NoDay(Exception):
    """A day's partition of the fact tables is missing; it is to be made, and the batch applied again."""

    def __init__(self, days: set[date]) -> None:
        super().__init__(", ".join(map(str, sorted(days))))
        self.days = days


PAST, FUTURE = timedelta(days=400), timedelta(days=3)
"""How far the clock of a host that accepts may be off, backlog included; days outside are not made: a dead letter."""


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
                into.dead.append(_dead(position, action, "unknown_kind", "no family of this version knows the kind"))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                into.dead.append(_dead(position, action, "invalid_data", str(error)))


def _one_by_one(position: Position, body: bytes, into: Applied) -> list[Action]:
    """The good actions of an entry in which something is not one."""
    good: list[Action] = []
    try:
        records = _records.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        into.dead.append(DeadLetter(position, "", "", "", "undecodable", str(error), body))
        return good
    for record in records:
        try:
            good.append(_action.decode(record))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            into.dead.append(DeadLetter(position, "", "", "", "undecodable", str(error), bytes(record)))
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
            done.replies.append(Reply(action.reply, _ERASED, duplicate=False))
    dead = [letter for letter in done.dead if _may_be_buried(letter, erased)]
    done.erased = len(done.items) - len(items) + len(done.dead) - len(dead)
    done.items, done.dead = items, dead


_ERASED: Final[Outcome] = {"error": "erased", "message": "the person whose action this is was erased"}


def _may_be_buried(letter: DeadLetter, erased: Erased) -> bool:
    """What is no action is kept: nobody knows whose it is."""
    try:
        return erased.cleared(_action.decode(letter.body)) is not None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True


def _dead(position: Position, action: Action, code: str, message: str) -> DeadLetter:
    body = msgspec.msgpack.encode(action)
    return DeadLetter(position, action.id, action.kind, action.subject, code, message[:1000], body)


async def record(
    conn: asyncpg.Connection,
    items: Sequence[Item],
    since: datetime,
    replay: bool,
    seen: Mapping[str, Seen] | None = None,
) -> Applied:
    """Steps 3 to 6 for these items, family by family; raises Poisoned when one of them cannot be applied."""
    done = Applied(stream.START)
    try:
        for family, own in by_family(items, [action.kind for _, action, _ in items]):
            known = None if seen is None else seen[family.name]
            await _record_family(conn, family, own, since, replay, known, done)
        done.deliveries += await outbox.write(conn, done.effects, done.follow_ups)
    except asyncpg.CheckViolationError as error:
        if "no partition of relation" in str(error) and (days := _days(items)):
            raise NoDay(days) from error
        raise Poisoned(str(error)) from error
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError) as error:
        raise Poisoned(str(error)) from error
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        raise Poisoned(f"{type(error).__name__}: {error}") from error
    return done


def by_family(things: Sequence[T], kinds: Sequence[str]) -> Iterable[tuple[Family, Sequence[T]]]:
    """Things by the family of their kind, in the order of FAMILIES."""
    owner = {kind: BY_KIND[kind][0] for kind in set(kinds)}
    families = [family for family in FAMILIES if family in owner.values()]
    if len(families) == 1:
        return ((families[0], things),)
    return [
        (family, [one for one, kind in zip(things, kinds, strict=True) if owner[kind] is family]) for family in families
    ]


def _days(items: Sequence[Item]) -> set[date]:
    """The days these items arrived on; none when the clock of a host was so far off that no day is made for it."""
    now = datetime.now(UTC)
    plausible = all(now - PAST < action.received_at < now + FUTURE for _, action, _ in items)
    return {action.received_at.date() for _, action, _ in items} if plausible else set()


async def _record_family(
    conn: asyncpg.Connection,
    family: Family,
    items: Sequence[Item],
    since: datetime,
    replay: bool,
    seen: Seen | None,
    done: Applied,
) -> None:
    # 4 load, and 3 record: an id counts once. The states come first, because they tell how far back to look.
    states = await family.load(conn, items)
    first_seen = {
        subject: family.first_seen(states, subject, since) for subject in {action.subject for _, action, _ in items}
    }
    done.born[family.name] = [subject for subject, first in first_seen.items() if first is None]
    applied = {
        subject: () if first is None else ANY if seen is None else seen.of(subject)
        for subject, first in first_seen.items()
    }
    asked = [
        action
        for _, action, _ in items
        if action.id in applied[action.subject] and (replay or not action.flags & OWN_ID)
    ]
    firsts = await _known(conn, family, asked, first_seen, since) if asked else {}
    new = _new(family, items, firsts, done)
    if new:
        # 5 fold: pure, in log order.
        rows = family.fold(states, new)
        emitted = family.emitted(states)
        for facts in family.facts:
            if facts.table in rows:
                await conn.copy_records_to_table(facts.table, records=rows[facts.table], columns=facts.columns)
        # 6 save.
        await family.save(conn, states)
        new = _take(emitted, new, done)
        done.models += family.models(states)
        done.fresh += [action for _, action, _ in new]
    if any(action.reply for _, action, _ in items):
        for _, action, _ in new:
            key = (family.table(action.kind).table, action.subject, action.id)
            firsts[key] = action.kind, family.outcome(states, action)
        _reply(family, items, new, firsts, done)


def _take(emitted: Emitted, new: list[Item], done: Applied) -> list[Item]:
    """What the fold wants beyond the facts; the items that it took."""
    if emitted is NOTHING:
        return new
    done.live += emitted.live
    done.effects += emitted.effects
    done.follow_ups += emitted.follow_ups
    not_taken = {id(action) for action in emitted.deferred} | {id(one.action) for one in emitted.refused}
    if not not_taken:
        return new
    places = {id(action): position for position, action, _ in new}
    done.dead += [_dead(places[id(one.action)], one.action, one.code, one.message) for one in emitted.refused]
    return [item for item in new if id(item[1]) not in not_taken]


_Key = tuple[str, str, str]
_Firsts = dict[_Key, tuple[str, Outcome]]
"""Kind and outcome of what was applied under an id."""


async def _known(
    conn: asyncpg.Connection,
    family: Family,
    asked: Sequence[Action],
    first_seen: Mapping[str, datetime | None],
    since: datetime,
) -> _Firsts:
    """Which (table, subject, id) were applied before, as what kind, with their first outcome.

    Each day's partition costs a probe of 3 us for every id: subjects first seen today are looked for in today's alone.
    """
    today = max(action.received_at for action in asked).replace(hour=0, minute=0, second=0, microsecond=0)
    groups: dict[tuple[str, datetime], list[Action]] = {}
    for action in asked:
        begin = today if (first_seen[action.subject] or since) >= today else since
        groups.setdefault((family.table(action.kind).table, begin), []).append(action)
    queries = {facts.table: facts.known for facts in family.facts}
    known: _Firsts = {}
    for (table, begin), actions in groups.items():
        subjects, ids = [action.subject for action in actions], [action.id for action in actions]
        for row in await conn.fetch(queries[table], subjects, ids, begin):
            known[table, row["subject"], row["id"]] = row["kind"], family.known(row)
    return known


def _new(family: Family, items: Sequence[Item], known: _Firsts, done: Applied) -> list[Item]:
    """The items whose (table, subject, id) is seen for the first time, in order; the others are counted."""
    if not known and len({action.id for _, action, _ in items}) == len(items):
        return list(items)
    new: list[Item] = []
    seen: set[_Key] = set(known)
    for item in items:
        action = item[1]
        key = (family.table(action.kind).table, action.subject, action.id)
        if key in seen:
            done.duplicates.append(action)
        else:
            seen.add(key)
            new.append(item)
    return new


def _reply(family: Family, items: Sequence[Item], new: Sequence[Item], firsts: _Firsts, done: Applied) -> None:
    """Outcomes to who waits; a refused action is answered with its dead letter, a deferred one when it comes again."""
    counted = {id(action) for _, action, _ in new}
    for _, action, _ in items:
        if action.reply is not None:
            first = firsts.get((family.table(action.kind).table, action.subject, action.id))
            if first is not None:
                kind, outcome = first
                told = outcome if kind == action.kind else _reused(kind)
                done.replies.append(Reply(action.reply, told, id(action) not in counted))


def _reused(kind: str) -> Outcome:
    """For an id that another kind has: nothing was done, and the outcome of the first is no answer to this."""
    return {"error": "id_reused", "message": f"the id belongs to an action of the kind {kind}: send a new id"}


Buried = dict[tuple[Position, bytes], DeadLetter]
"""What tries that were rolled back found to be poison, by its place and its bytes."""


def known_poison(items: Sequence[Item], known: Buried, into: Applied) -> Sequence[Item]:
    """The items without what is known to be poison, which goes to the dead letters at once."""
    if not known:
        return items
    left: list[Item] = []
    for item in items:
        letter = known.get((item[0], msgspec.msgpack.encode(item[1])))
        if letter is None:
            left.append(item)
        else:
            into.dead.append(letter)
    return left


async def isolate(
    conn: asyncpg.Connection, items: Sequence[Item], since: datetime, replay: bool, into: Applied, found: Buried
) -> None:
    """Apply what can be applied, halving around what cannot: a poison action costs log2(n) savepoints.

    `found` keeps what it learns when the time is over before the end: else one entry of many would come for ever.
    """
    try:
        async with conn.transaction():
            part = await record(conn, items, since, replay)
    except Poisoned as error:
        if len(items) == 1:
            position, action, _ = items[0]
            letter = _dead(position, action, "poison", str(error))
            found[position, letter.body] = letter
            into.dead.append(letter)
            return
        middle = len(items) // 2
        await isolate(conn, items[:middle], since, replay, into, found)
        await isolate(conn, items[middle:], since, replay, into, found)
    else:
        into.take(part)


async def bury(conn: asyncpg.Connection, partition: int, dead: Sequence[DeadLetter]) -> None:
    """Write the dead letters."""
    if not dead:
        return
    rows = ((partition, str(letter.position), *map(_storable, letter[1:-1]), letter.body) for letter in dead)
    await conn.execute(QUERIES["insert_dead_letters"], *map(list, zip(*rows, strict=True)))


def _storable(text: str) -> str:
    """Text that Postgres takes: a letter that cannot be buried would block all behind it."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def since(oldest: datetime, days: int, now: datetime) -> datetime:
    """The arrival before which no first copy of what arrived at `oldest` or later can lie, for ids of `days` days.

    A host whose clock is ahead must not shorten them, and one whose clock is far behind not run out of the calendar.
    """
    return max(min(oldest, now), now - PAST) - timedelta(days=days)
