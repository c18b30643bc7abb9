"""Accounts, counters and reservations from their facts, for `python -m jobs rebuild` and `recalculate`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import asyncpg
import msgspec

from db import sql
from jobs import catalog as catalogs
from jobs.family import Difference, StateTable
from jobs.usage import plans, rows, told, view
from jobs.usage.periods import EPOCH
from jobs.usage.plans import Limit
from jobs.usage.rows import Account, Counter, CounterKey, Reservation
from jobs.usage.told import Held

QUERIES: Final = sql.read("usage_facts")
PREFETCH: Final = 2000
BETWEEN: Final = "\x1f"
"""Between the parts of a key: no id holds a control character."""
_DAY: Final = timedelta(days=1)


async def _oldest(conn: asyncpg.Connection) -> datetime | None:
    oldest: datetime | None = await conn.fetchval(QUERIES["oldest_usage_day"])
    return oldest


def _missing(kept: object, rebuilt: object) -> list[Difference]:
    return [("(row)", "missing" if kept is None else "there", "there" if rebuilt else "no facts")]


class Accounts:
    """`usage_accounts`, keyed by subject."""

    name = "usage_accounts"

    def __init__(self, subject: str | None = None) -> None:
        self.subject = subject

    async def count(self, conn: asyncpg.Connection) -> int:
        """The planner's estimate."""
        number: int = await conn.fetchval(QUERIES["count_usage_accounts"])
        return 1 if self.subject else number

    async def page(self, conn: asyncpg.Connection, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """The next subjects."""
        return [
            (row[0], row[0]) for row in await conn.fetch(QUERIES["page_usage_accounts"], after, self.subject, limit)
        ]

    async def orphans(self, conn: asyncpg.Connection) -> AsyncIterator[tuple[str, str]]:
        """Subjects that only facts know of."""
        async for row in conn.cursor(QUERIES["orphan_usage_accounts"], self.subject, prefetch=PREFETCH):
            yield row[0], row[0]

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, Account | None]:
        """The rows; None for one that began to arrive before the oldest day of facts."""
        oldest = await _oldest(conn)
        found = [rows.account(row) for row in await conn.fetch(rows.QUERIES["load_usage_accounts"], keys)]
        return {one.subject: None if oldest is None or one.first_at < oldest else one for one in found}

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, Account]:
        """What was ruled, in its order."""
        found = {row["subject"]: told.account(row) for row in await conn.fetch(QUERIES["usage_subjects"], keys)}
        async for row in conn.cursor(QUERIES["usage_rulings"], keys, prefetch=PREFETCH):
            told.rule(found[row["subject"]], row)
        return found

    def differences(self, kept: Account | None, rebuilt: Account | None, now: datetime) -> Sequence[Difference]:
        """Field by field."""
        if kept is None or rebuilt is None:
            return _missing(kept, rebuilt)
        mine, theirs = msgspec.structs.asdict(kept), msgspec.structs.asdict(rebuilt)
        return [(name, mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]]

    async def save(self, conn: asyncpg.Connection, rows_now: Sequence[Account]) -> None:
        """The upsert of the worker."""
        await rows.save_accounts(conn, {row.subject: row for row in rows_now})

    async def delete(self, conn: asyncpg.Connection, keys: Sequence[str]) -> None:
        """Subjects without any fact."""
        await conn.execute(QUERIES["delete_usage_accounts"], keys)

    def models(self, key: str) -> Iterable[str]:
        """As `Usage.models` names it."""
        return (view.name(key),)


class Counters:
    """`usage_counters`, and of each the `usage_reservations` that it holds; keyed by subject, meter and period."""

    name = "usage_counters"

    def __init__(self, subject: str | None = None) -> None:
        self.subject = subject

    async def count(self, conn: asyncpg.Connection) -> int:
        """The planner's estimate."""
        number: int = await conn.fetchval(QUERIES["count_usage_counters"])
        return 1 if self.subject else number

    async def page(self, conn: asyncpg.Connection, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """The next counters."""
        begin = _split(after) if after else ("", "", EPOCH)
        return [_named(row) for row in await conn.fetch(QUERIES["page_usage_counters"], *begin, self.subject, limit)]

    async def orphans(self, conn: asyncpg.Connection) -> AsyncIterator[tuple[str, str]]:
        """Counters that only facts or reservations know of."""
        async for row in conn.cursor(QUERIES["orphan_usage_counters"], self.subject, prefetch=PREFETCH):
            yield _named(row)

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, Held | None]:
        """The rows; None where a fact may have been dropped: of a gauge, or a period that began before the oldest day.

        A subject that is younger than that day has all its facts.
        """
        oldest, names = await _oldest(conn), _columns(keys)
        found: dict[str, Held] = {}
        for row in await conn.fetch(rows.QUERIES["find_usage_counters"], *names):
            own = rows.counter(row)
            found[key_of(own.key)] = Held(own, {})
        for row in await conn.fetch(QUERIES["reservations_of_counters"], *names):
            one = Reservation(*row)
            found.setdefault(key_of((one.subject, one.action, one.period_start)), Held(None, {})).reservations[
                one.id
            ] = one
        owners = await conn.fetch(rows.QUERIES["load_usage_accounts"], sorted(set(names[0])))
        young = {row["subject"] for row in owners if oldest is not None and row["first_at"] >= oldest}
        return {name: held if _is_whole(_split(name), oldest, young) else None for name, held in found.items()}

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, Held]:
        """The counters as their facts say."""
        names = _columns(keys)
        kept = [rows.counter(row) for row in await conn.fetch(rows.QUERIES["find_usage_counters"], *names)]
        limits = await _limits(conn, subjects, kept)
        found: dict[str, Held] = {}
        async for row in conn.cursor(QUERIES["counted_usage"], *names, prefetch=PREFETCH):
            name = key_of((row["subject"], row["action"], row["period_start"]))
            told.count(found.setdefault(name, Held(None, {})), row, limits.find)
        released = {(row[0], row[1]) for row in await conn.fetch(QUERIES["released_usage"], subjects)}
        decided = {row["subject"]: row["decided_at"] for row in await conn.fetch(QUERIES["usage_subjects"], subjects)}
        closing = timedelta(hours=(await catalogs.load(conn)).usage.close_after_hours)
        before = {key_of(one.key): one for one in kept}
        for name, held in found.items():
            told.end(held, released, decided[_split(name)[0]])
            if held.counter is not None:
                told.close(held.counter, before.get(name), closing)
        return found

    def differences(self, kept: Held | None, rebuilt: Held | None, now: datetime) -> Sequence[Difference]:
        """Field by field; a reservation that has expired may not have been ended yet."""
        if kept is None or rebuilt is None:
            return _missing(kept, rebuilt)
        if kept.counter is None:
            return _missing(None, rebuilt)
        mine, theirs = kept.at(now), rebuilt.at(now)
        names = sorted(mine.keys() | theirs.keys())
        return [(name, mine.get(name), theirs.get(name)) for name in names if mine.get(name) != theirs.get(name)]

    async def save(self, conn: asyncpg.Connection, rows_now: Sequence[Held]) -> None:
        """What the facts say takes the place of what was there."""
        counters = {row.counter.key: row.counter for row in rows_now if row.counter is not None}
        held = {(one.subject, one.id): one for row in rows_now for one in row.reservations.values()}
        await self.delete(conn, [key_of(key) for key in counters])
        await rows.save_counters(conn, counters)
        await rows.save_reservations(conn, held)

    async def delete(self, conn: asyncpg.Connection, keys: Sequence[str]) -> None:
        """Counters without any fact, and their reservations."""
        await conn.execute(QUERIES["delete_usage_reservations"], *_columns(keys))
        await conn.execute(QUERIES["delete_usage_counters"], *_columns(keys))

    def models(self, key: str) -> Iterable[str]:
        """As `Usage.models` names it."""
        return (view.name(_split(key)[0]),)


def tables(subject: str | None = None) -> Sequence[StateTable]:
    """All, or what they hold of one subject."""
    return Accounts(subject), Counters(subject)


def key_of(key: CounterKey) -> str:
    """A counter's key as text."""
    return BETWEEN.join((key[0], key[1], key[2].astimezone(UTC).isoformat()))


def _split(name: str) -> CounterKey:
    subject, action, start = name.split(BETWEEN)
    return subject, action, datetime.fromisoformat(start)


def _columns(keys: Iterable[str]) -> tuple[list[str], list[str], list[datetime]]:
    found = [_split(key) for key in keys]
    return [one[0] for one in found], [one[1] for one in found], [one[2] for one in found]


def _named(row: asyncpg.Record) -> tuple[str, str]:
    return key_of((row[0], row[1], row[2])), row[0]


def _is_whole(key: CounterKey, oldest: datetime | None, young: set[str]) -> bool:
    """Whether no fact of a counter can have been dropped; a day more, for what came before its period began."""
    subject, _, start = key
    return oldest is not None and (subject in young or start >= oldest + _DAY)


class _Limits(NamedTuple):
    """Every limit that counters may have been judged by; of a version that nothing knows any more, what a row says."""

    of_plans: Mapping[tuple[str, str], Limit]
    own: Mapping[tuple[str, str, str], Limit]

    def find(self, counter: Counter, version: str) -> Limit:
        """By its version."""
        own = self.own.get((counter.subject, counter.action, version))
        return self.of_plans.get((counter.action, version)) or own or Limit(None, version=version)


async def _limits(conn: asyncpg.Connection, subjects: Sequence[str], kept: Iterable[Counter]) -> _Limits:
    of_plans = {
        (action, limit.version): limit
        for one in await plans.all_versions(conn)
        for action, limit in one.body.limits.items()
    }
    own = {(one.subject, one.action, one.limit_version): one.limit for one in kept}
    for row in await conn.fetch(QUERIES["usage_rulings"], subjects):
        if row["kind"] == "usage.limits_set" and (limit := told.ruled_limit(msgspec.json.decode(row["outcome"]))):
            own[row["subject"], row["action"], limit.version] = limit
    return _Limits(of_plans, own)
