"""What usage is folded into: accounts, counters, reservations; how a batch loads and saves them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from typing import Any, Final, Literal

import asyncpg
import msgspec

from db import sql
from jobs import catalog as catalogs
from jobs.action import Action
from jobs.catalog import Catalog
from jobs.family import Emitted, Item, Outcome
from jobs.usage import periods, plans
from jobs.usage.kinds import Committed, Recorded, Released, Reserved
from jobs.usage.periods import EPOCH, Rule
from jobs.usage.plans import Limit, Plans

QUERIES: Final = sql.read("usage")
LISTED: Final = 64
"""Open reservations of a subject that a batch loads beside those that it needs: so a view knows when they expire."""

CounterKey = tuple[str, str, datetime]
"""Subject, meter, begin of the period."""


class Account(msgspec.Struct):
    """One row of `usage_accounts`; the fields are its columns, in order. `plan` None: the default one."""

    subject: str
    first_at: datetime
    plan: str | None = None
    next_plan: str | None = None
    next_plan_at: datetime | None = None
    overrides: dict[str, Limit] = {}
    rules: tuple[Rule, ...] = periods.DEFAULT
    metered: bool = False
    revision: int = 0

    def plan_at(self, when: datetime, default: str) -> str:
        """The plan; a pending change holds by time alone."""
        if self.next_plan_at is not None and when >= self.next_plan_at:
            return self.next_plan or default
        return self.plan or default

    def limit(self, action: str, when: datetime, held: Plans) -> tuple[str, Limit]:
        """(plan, limit of a meter): the subject's own, else the plan's."""
        plan = self.plan_at(when, held.default)
        own = self.overrides.get(action)
        return plan, held.limit(plan, action, when) if own is None else own


class Counter(msgspec.Struct):
    """One row of `usage_counters`; the fields are its columns, in order."""

    subject: str
    action: str
    period_start: datetime
    period_end: datetime | None
    used: int = 0
    reserved: int = 0
    records: int = 0
    plan: str = ""
    limit_version: str = ""
    limit_value: int | None = None
    hard: bool = True
    overage_cap: int | None = None
    notified: list[str] = []
    revision: int = 0
    closed_at: datetime | None = None
    updated_at: datetime = EPOCH

    @property
    def key(self) -> CounterKey:
        """Of its row."""
        return self.subject, self.action, self.period_start

    @property
    def limit(self) -> Limit:
        """What it was judged by last."""
        return Limit(self.limit_value, self.hard, self.overage_cap, self.limit_version)

    def judge(self, plan: str, limit: Limit) -> None:
        """Keep what it is judged by."""
        if limit.version != self.limit_version:
            self.limit_version, self.limit_value = limit.version, limit.limit
            self.hard, self.overage_cap = limit.hard, limit.overage_cap
        self.plan = plan


class Reservation(msgspec.Struct):
    """One row of `usage_reservations`; the fields are its columns, in order."""

    subject: str
    id: str
    action: str
    quantity: int
    period_start: datetime
    created_at: datetime
    expires_at: datetime
    status: Literal["open", "committed", "released", "expired"] = "open"
    committed: int = 0


class States:
    """What one batch touches."""

    def __init__(self, catalog: Catalog, held: Plans) -> None:
        self.catalog, self.plans, self.usage = catalog, held, catalog.usage
        self.gauges = {meter.name: meter.kind == "gauge" for meter in catalog.meters}
        self.closing = timedelta(hours=catalog.usage.close_after_hours)
        self.accounts: dict[str, Account] = {}
        self.counters: dict[CounterKey, Counter] = {}
        self.reservations: dict[tuple[str, str], Reservation] = {}
        self.changed_accounts: dict[str, Account] = {}
        self.changed_counters: dict[CounterKey, Counter] = {}
        self.changed_reservations: dict[tuple[str, str], Reservation] = {}
        self.outcomes: dict[int, Outcome] = {}
        """id() of an action of this batch -> its outcome."""
        self.latest: dict[str, datetime] = {}
        """Subject -> its newest arrival in this batch."""
        self.listed_until: dict[str, datetime] = {}
        """Subject -> until when the open reservations that were loaded are all that expire."""
        self.emitted = Emitted()
        self._due: dict[str, list[tuple[datetime, str]]] = {}
        self._spans: dict[str, periods.Period] = {}

    def add(self, reservation: Reservation) -> None:
        """Take a reservation in."""
        key = reservation.subject, reservation.id
        self.reservations[key] = reservation
        if reservation.status == "open":
            heappush(self._due.setdefault(reservation.subject, []), (reservation.expires_at, reservation.id))

    def take(self, reservations: Iterable[Reservation]) -> None:
        """Take in what was loaded."""
        for one in reservations:
            if (one.subject, one.id) not in self.reservations:
                self.reservations[one.subject, one.id] = one
                if one.status == "open":
                    self._due.setdefault(one.subject, []).append((one.expires_at, one.id))
        for heap in self._due.values():
            heapify(heap)

    def span(self, account: Account, at: datetime) -> periods.Period:
        """The period in which `at` lies."""
        found = self._spans.get(account.subject)
        if found is None or not found[0] <= at < found[1]:
            found = self._spans[account.subject] = periods.period(account.rules, at)
        return found

    def forget_span(self, subject: str) -> None:
        """Its rules changed."""
        self._spans.pop(subject, None)

    def find(self, account: Account, action: str, at: datetime) -> Counter:
        """The counter of a moment: as it is, or one that nobody has kept yet."""
        start, end = (EPOCH, None) if self.gauges[action] else self.span(account, at)
        found = self.counters.get((account.subject, action, start))
        return Counter(account.subject, action, start, end) if found is None else found

    def keep(self, account: Account, counter: Counter) -> None:
        """Something was counted."""
        key = counter.key
        self.counters[key] = self.changed_counters[key] = counter
        if not account.metered:
            account.metered = True
            self.changed_accounts[account.subject] = account

    def expire(self, subject: str, now: datetime) -> None:
        """Free what reservations held until now or before; what is free once is never taken back."""
        heap = self._due.get(subject)
        while heap and heap[0][0] <= now:
            _, name = heappop(heap)
            found = self.reservations[subject, name]
            if found.status == "open" and found.expires_at <= now:
                self.close(found, "expired")

    def close(self, reservation: Reservation, status: Literal["committed", "released", "expired"]) -> Counter:
        """End a reservation: its counter holds it no more."""
        reservation.status = status
        self.changed_reservations[reservation.subject, reservation.id] = reservation
        counter = self.counters[reservation.subject, reservation.action, reservation.period_start]
        counter.reserved -= reservation.quantity
        self.changed_counters[counter.key] = counter
        return counter


async def load(conn: asyncpg.Connection, items: Sequence[Item]) -> States:
    """Accounts, the counters of every period that the batch may touch, the reservations it needs."""
    oldest = min(action.received_at for _, action, _ in items)
    catalog = await catalogs.load(conn)
    states = States(catalog, await plans.ensure(conn, catalog, oldest))
    since: dict[str, datetime] = {}
    until: dict[str, datetime] = states.latest
    for _, action, _ in items:
        subject, at, got = action.subject, min(action.at, action.received_at), action.received_at
        if subject not in since or at < since[subject]:
            since[subject] = at
        if subject not in until or got > until[subject]:
            until[subject] = got
    subjects = list(since)
    for row in await conn.fetch(QUERIES["load_usage_accounts"], subjects):
        states.accounts[row["subject"]] = account(row)
    for row in await conn.fetch(QUERIES["load_usage_counters"], subjects, list(since.values())):
        found = counter(row)
        states.counters[found.key] = found
    await _load_reservations(conn, states, items)
    return states


def holding(states: States, items: Sequence[Item]) -> set[str]:
    """The subjects whose open reservations matter: those that decide, also on what older periods hold, or show them."""
    deciding = {action.subject for _, action, payload in items if not isinstance(payload, Recorded)}
    return deciding | {one.subject for one in states.counters.values() if one.reserved}


def named_in(items: Sequence[Item]) -> set[tuple[str, str]]:
    """The reservations that actions speak of, and those whose ids come anew."""
    named: set[tuple[str, str]] = set()
    for _, action, payload in items:
        if isinstance(payload, Committed | Released):
            named.add((action.subject, payload.reservation_id))
        elif isinstance(payload, Reserved):
            named.add((action.subject, action.id))
    return named


async def _load_reservations(conn: asyncpg.Connection, states: States, items: Sequence[Item]) -> None:
    found: list[Reservation] = []
    if named := named_in(items):
        keys = list(map(list, zip(*named, strict=True)))
        found += [Reservation(*row) for row in await conn.fetch(QUERIES["load_reservations"], *keys)]
    if subjects := list(holding(states, items)):
        until = [states.latest[subject] for subject in subjects]
        rows = await conn.fetch(QUERIES["load_open_reservations"], subjects, until, LISTED)
        held = [Reservation(*row) for row in rows]
        states.listed_until = listed_until(held, states.latest, LISTED)
        found += held
    states.take(found)
    wanted = {(one.subject, one.action, one.period_start) for one in found if one.status == "open"}
    if missing := wanted - states.counters.keys():
        keys = list(map(list, zip(*missing, strict=True)))
        for row in await conn.fetch(QUERIES["find_usage_counters"], *keys):
            one = counter(row)
            states.counters[one.key] = one


def listed_until(held: Iterable[Reservation], now: Mapping[str, datetime], most: int) -> dict[str, datetime]:
    """Of subjects with more open reservations than are listed: behind their last one, others may expire."""
    later: dict[str, list[datetime]] = {}
    for one in held:
        if one.expires_at > now[one.subject]:
            later.setdefault(one.subject, []).append(one.expires_at)
    return {subject: max(expiries) for subject, expiries in later.items() if len(expiries) >= most}


_overrides: Final = msgspec.json.Decoder(dict[str, Limit])
_rules: Final = msgspec.json.Decoder(tuple[Rule, ...])
_notified: Final = msgspec.json.Decoder(list[str])
_encode: Final = msgspec.json.Encoder().encode


def account(row: asyncpg.Record) -> Account:
    """A row as it was read."""
    subject, first_at, plan, next_plan, next_plan_at, overrides, rules, metered, revision = row
    own = {} if overrides == "{}" else _overrides.decode(overrides)
    spans = periods.DEFAULT if rules == "[{}]" else _rules.decode(rules)
    return Account(subject, first_at, plan, next_plan, next_plan_at, own, spans, metered, revision)


def counter(row: asyncpg.Record) -> Counter:
    """A row as it was read."""
    made = Counter(*row)
    made.notified = [] if row["notified"] == "[]" else _notified.decode(row["notified"])
    return made


async def save(conn: asyncpg.Connection, states: States) -> None:
    """One upsert per table, ordered by key, so that two writers can never wait for each other."""
    await save_accounts(conn, states.changed_accounts)
    await save_counters(conn, states.changed_counters)
    await save_reservations(conn, states.changed_reservations)


async def save_accounts(conn: asyncpg.Connection, changed: Mapping[str, Account]) -> None:
    """Upsert."""
    rows = [msgspec.structs.astuple(changed[key]) for key in sorted(changed)]
    await _save(
        conn,
        "save_usage_accounts",
        [(*row[:5], _encode(row[5]).decode(), _encode(row[6]).decode(), *row[7:]) for row in rows],
    )


async def save_counters(conn: asyncpg.Connection, changed: Mapping[CounterKey, Counter]) -> None:
    """Upsert; a time of closing is never taken back."""
    rows = [msgspec.structs.astuple(changed[key]) for key in sorted(changed)]
    await _save(conn, "save_usage_counters", [(*row[:12], _encode(row[12]).decode(), *row[13:]) for row in rows])


async def save_reservations(conn: asyncpg.Connection, changed: Mapping[tuple[str, str], Reservation]) -> None:
    """Upsert."""
    await _save(conn, "save_reservations", [msgspec.structs.astuple(changed[key]) for key in sorted(changed)])


async def _save(conn: asyncpg.Connection, query: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        await conn.execute(QUERIES[query], *map(list, zip(*rows, strict=True)))


def opened(states: States, action: Action) -> Account:
    """The account of a subject: as it is, or one that nobody has kept yet."""
    found = states.accounts.get(action.subject)
    return Account(action.subject, action.received_at) if found is None else found
