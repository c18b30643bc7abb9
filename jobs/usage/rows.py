"""The rows of usage: accounts, counters, reservations; as Postgres has them, and how they are written there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import asyncpg
import msgspec

from db import sql
from jobs.usage import periods
from jobs.usage.periods import EPOCH, Rule
from jobs.usage.plans import Limit, Plans

QUERIES: Final = sql.read("usage")

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
