"""The actions of one batch into Postgres, family by family: steps 3 to 6 of docs/architecture.md.

The connection comes from the caller, who owns the transaction and the time-out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

import asyncpg

from db import stream
from jobs.effects import outbox
from jobs.families import BY_KIND, FAMILIES
from jobs.family import NOTHING, Emitted, Family
from worker import dead_letters, dedupe, replies
from worker.applied import Applied, Item
from worker.seen import Seen

T = TypeVar("T")

PAST, FUTURE = timedelta(days=400), timedelta(days=3)
"""How far the clock of a host that accepts may be off, backlog included; days outside are not made: a dead letter."""


class Poisoned(Exception):
    """Something in the batch cannot be applied; it is to be isolated."""


class NoDay(Exception):
    """A day's partition of the fact tables is missing; it is to be made, and the batch applied again."""

    def __init__(self, days: set[date]) -> None:
        super().__init__(", ".join(map(str, sorted(days))))
        self.days = days


def since(oldest: datetime, days: int, now: datetime) -> datetime:
    """The arrival before which no first copy of what arrived at `oldest` or later can lie, for ids of `days` days.

    A host whose clock is ahead must not shorten them, and one whose clock is far behind not run out of the calendar.
    """
    return max(min(oldest, now), now - PAST) - timedelta(days=days)


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


async def _record_family(
    conn: asyncpg.Connection,
    family: Family,
    items: Sequence[Item],
    since: datetime,
    replay: bool,
    seen: Seen | None,
    done: Applied,
) -> None:
    # 4 load. The states come before 3, because they tell how far back to look.
    states = await family.load(conn, items)
    subjects = {action.subject for _, action, _ in items}
    first_seen = {subject: family.first_seen(states, subject, since) for subject in subjects}
    done.born[family.name] = [subject for subject, first in first_seen.items() if first is None]
    # 3 record: an id counts once.
    doubtful = dedupe.doubtful(items, first_seen, seen, replay)
    firsts = await dedupe.known(conn, family, doubtful, first_seen, since)
    new, duplicates = dedupe.split(family, items, firsts)
    done.duplicates += duplicates
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
        firsts |= {dedupe.key(family, action): (action.kind, family.outcome(states, action)) for _, action, _ in new}
        done.replies += replies.outcomes(family, items, new, firsts)


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
    done.dead += [
        dead_letters.letter(places[id(one.action)], one.action, one.code, one.message) for one in emitted.refused
    ]
    return [item for item in new if id(item[1]) not in not_taken]


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
