"""What one batch of usage touches: how it is loaded and saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from typing import Final, Literal

import asyncpg

from jobs import catalog as catalogs
from jobs.action import Action
from jobs.catalog import Catalog
from jobs.family import Emitted, Item, Outcome
from jobs.usage import periods, plans, rows
from jobs.usage.kinds import Committed, Recorded, Released, Reserved
from jobs.usage.model import Model
from jobs.usage.periods import EPOCH
from jobs.usage.plans import Plans
from jobs.usage.rows import QUERIES, Account, Counter, CounterKey, Reservation

LISTED: Final = 64
"""Open reservations of a subject that a batch loads beside those that it needs: so a view knows when they expire."""


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
        self.models: Mapping[str, Model] = {}
        """Subject -> what it sees of its usage, once the batch is folded: jobs/usage/view.py."""
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


def opened(states: States, action: Action) -> Account:
    """The account of a subject: as it is, or one that nobody has kept yet."""
    found = states.accounts.get(action.subject)
    return Account(action.subject, action.received_at) if found is None else found


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
        states.accounts[row["subject"]] = rows.account(row)
    for row in await conn.fetch(QUERIES["load_usage_counters"], subjects, list(since.values())):
        found = rows.counter(row)
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
        held = [
            Reservation(*row) for row in await conn.fetch(QUERIES["load_open_reservations"], subjects, until, LISTED)
        ]
        states.listed_until = listed_until(held, states.latest, LISTED)
        found += held
    await _take(conn, states, found)


async def _take(conn: asyncpg.Connection, states: States, found: Sequence[Reservation]) -> None:
    """Reservations, and the counters that hold those that are open."""
    states.take(found)
    wanted = {(one.subject, one.action, one.period_start) for one in found if one.status == "open"}
    if missing := wanted - states.counters.keys():
        keys = list(map(list, zip(*missing, strict=True)))
        for row in await conn.fetch(QUERIES["find_usage_counters"], *keys):
            one = rows.counter(row)
            states.counters[one.key] = one


async def expire(conn: asyncpg.Connection, due: Sequence[tuple[str, str]], now: datetime) -> int:
    """End these reservations (subject, id) if they have expired; how many did. The caller holds their partition."""
    catalog = await catalogs.load(conn)
    states = States(catalog, await plans.load(conn, catalog, now))
    keys = list(map(list, zip(*due, strict=True)))
    await _take(conn, states, [Reservation(*row) for row in await conn.fetch(QUERIES["load_reservations"], *keys)])
    for subject in {subject for subject, _ in due}:
        states.expire(subject, now)
    await save(conn, states)
    return len(states.changed_reservations)


def listed_until(held: Iterable[Reservation], now: Mapping[str, datetime], most: int) -> dict[str, datetime]:
    """Of subjects with more open reservations than are listed: behind their last one, others may expire."""
    later: dict[str, list[datetime]] = {}
    for one in held:
        if one.expires_at > now[one.subject]:
            later.setdefault(one.subject, []).append(one.expires_at)
    return {subject: max(expiries) for subject, expiries in later.items() if len(expiries) >= most}


async def save(conn: asyncpg.Connection, states: States) -> None:
    """One upsert per table, ordered by key, so that two writers can never wait for each other."""
    await rows.save_accounts(conn, states.changed_accounts)
    await rows.save_counters(conn, states.changed_counters)
    await rows.save_reservations(conn, states.changed_reservations)
