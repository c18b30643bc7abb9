"""Onboarding by the day on which users began: what a day's users count for, kept by passes, added up by the overview.

A user counts on the day (UTC) of the earliest of his steps and actions. A batch notes the days whose users it changed,
in its own transaction; a pass takes the notes and counts these days anew in one transaction, so that one that dies
changes nothing. What is kept is only ever a copy of what the rows say: a day without one is counted when it is asked.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple

import asyncpg
import msgspec

from db import sql
from jobs.onboarding.checklist import Checklist

QUERIES: Final = sql.read("onboarding_days")
DAY: Final = timedelta(days=1)
DAYS: Final = 20
"""Days that are counted at once."""
NOTES: Final = 10_000
Stretch = tuple[datetime, datetime]


class Step(msgspec.Struct):
    """Of one step of the catalog; `spent` and `between`: seconds, to three digits, and how many took so long."""

    completed: int = 0
    skipped: int = 0
    ended: int = 0
    """For how many it is the furthest one that they closed."""
    spent: dict[float, int] = {}
    between: dict[float, int] = {}
    """Since the step before it that they closed."""

    def add(self, other: Step) -> None:
        """Take the other one's counts as well."""
        self.completed += other.completed
        self.skipped += other.skipped
        self.ended += other.ended
        _add(self.spent, other.spent)
        _add(self.between, other.between)


class Numbers(msgspec.Struct):
    """What the users who began in some time count for. `all_…`: they closed every step, and skipped none, or some."""

    users: int = 0
    all_completed: int = 0
    all_skipped: int = 0
    steps: dict[str, Step] = {}
    actions: dict[str, tuple[int, int]] = {}
    """Action -> users, times."""

    def add(self, other: Numbers) -> None:
        """Users of another time as well."""
        self.users += other.users
        self.all_completed += other.all_completed
        self.all_skipped += other.all_skipped
        for name, step in other.steps.items():
            self.steps.setdefault(name, Step()).add(step)
        for name, (users, times) in other.actions.items():
            mine = self.actions.get(name, (0, 0))
            self.actions[name] = (mine[0] + users, mine[1] + times)


def _add(into: dict[float, int], other: Mapping[float, int]) -> None:
    if not into:
        into.update(other)
        return
    for value, n in other.items():
        into[value] = into.get(value, 0) + n


_decode: Final = msgspec.msgpack.Decoder(Numbers).decode
_encode: Final = msgspec.msgpack.Encoder().encode


def median(histogram: Mapping[float, int]) -> float | None:
    """Between the two in the middle when their number is even; None of nothing."""
    number = sum(histogram.values())
    if not number:
        return None
    low = high = passed = 0.0
    for value, n in sorted(histogram.items()):
        if passed <= (number - 1) // 2:
            low = value
        if passed <= number // 2:
            high = value
        passed += n
    return (low + high) / 2


def begun(checklist: Checklist) -> date | None:
    """The day on which a user began; None of one who has not."""
    times = [row.created_at for row in checklist.steps.values()]
    times += [row.first_at for row in checklist.actions.values()]
    return min(times).astimezone(UTC).date() if times else None


async def overview(conn: asyncpg.Connection, begin: datetime, end: datetime) -> tuple[Sequence[str], Numbers]:
    """The catalog's steps, and what the users who began in [begin, end) count for; one snapshot is the caller's.

    Whole days are read as they were counted, the rest of the time from the rows of its users.
    """
    steps: Sequence[str] = await conn.fetchval(QUERIES["onboarding_steps_now"])
    first, behind = (begin + DAY - timedelta.resolution).astimezone(UTC).date(), end.astimezone(UTC).date()
    kept = {row["day"]: row["counted"] for row in await conn.fetch(QUERIES["counted_days"], first, behind, steps)}
    found = Numbers()
    for body in kept.values():
        found.add(_decode(body))
    for one in (await _counted(conn, _between(begin, end, kept))).values():
        found.add(one)
    return steps, found


def _between(begin: datetime, end: datetime, kept: Iterable[date]) -> list[Stretch]:
    """What of [begin, end) lies on none of these days."""
    found: list[Stretch] = []
    for day in sorted(kept):
        midnight = _midnight(day)
        if begin < midnight:
            found.append((begin, midnight))
        begin = midnight + DAY
    if begin < end:
        found.append((begin, end))
    return found


async def _counted(conn: asyncpg.Connection, stretches: Sequence[Stretch]) -> dict[datetime, Numbers]:
    """Stretch by its beginning -> what its users count for; without those that have none."""
    found: dict[datetime, Numbers] = {}
    if not stretches:
        return found
    for begins, what, name, seconds, n, times in await conn.fetch(
        QUERIES["count_begun"], *map(list, zip(*stretches, strict=True))
    ):
        numbers = found.setdefault(begins, Numbers())
        if what == "action":
            numbers.actions[name] = (n, times)
        elif not name:
            setattr(numbers, what, n)
        elif seconds is None:
            setattr(numbers.steps.setdefault(name, Step()), what, n)
        else:
            getattr(numbers.steps.setdefault(name, Step()), what)[seconds] = n
    return found


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


class Pass(NamedTuple):
    """What one pass did."""

    days: int
    is_done: bool
    """Nothing was left to do when it ended."""


async def count(conn: asyncpg.Connection) -> Pass:
    """Count noted days anew, and such as were counted with other steps; the caller owns the transaction.

    Another pass that is under way: nothing is done.
    """
    if not await conn.fetchval(QUERIES["try_counting_days"]):
        return Pass(0, is_done=True)
    rows = await conn.fetch(QUERIES["take_onboarding_changes"], NOTES)
    noted = {day for row in rows for day in row["days"]}
    # By lot: where more days change than a run can count, each has its turn.
    changed = random.sample(sorted(noted), min(DAYS, len(noted)))
    await note(conn, noted.difference(changed))
    steps = await conn.fetchval(QUERIES["onboarding_steps_now"])
    stale = [row["day"] for row in await conn.fetch(QUERIES["stale_onboarding_days"], steps, DAYS)]
    changed += [day for day in stale if day not in noted][: DAYS - len(changed)]
    await save(conn, changed)
    return Pass(len(changed), is_done=len(changed) < DAYS and len(rows) < NOTES)


async def save(conn: asyncpg.Connection, days: Sequence[date]) -> None:
    """Count these days, and keep what they come to; one without users has no row."""
    steps, found = await made(conn, days)
    if gone := [day for day in days if day not in found]:
        await drop(conn, gone)
    if found:
        rows = [(day, _encode(numbers)) for day, numbers in sorted(found.items())]
        await conn.execute(QUERIES["save_onboarding_days"], steps, *map(list, zip(*rows, strict=True)))


async def made(conn: asyncpg.Connection, days: Sequence[date]) -> tuple[Sequence[str], dict[date, Numbers]]:
    """The catalog's steps, and what those of these days come to that have users."""
    steps: Sequence[str] = await conn.fetchval(QUERIES["onboarding_steps_now"])
    counted = await _counted(conn, [(_midnight(day), _midnight(day) + DAY) for day in days])
    return steps, {begins.date(): numbers for begins, numbers in counted.items()}


async def kept(conn: asyncpg.Connection, days: Sequence[date]) -> dict[date, tuple[Sequence[str], Numbers]]:
    """The rows of these days: the steps that they were counted with, and the numbers."""
    rows = await conn.fetch(QUERIES["load_onboarding_days"], days)
    return {row["day"]: (row["steps"], _decode(row["counted"])) for row in rows}


async def drop(conn: asyncpg.Connection, days: Sequence[date]) -> None:
    """Days without users."""
    await conn.execute(QUERIES["drop_onboarding_days"], days)


async def note(conn: asyncpg.Connection, days: Iterable[date]) -> None:
    """For the next pass; in the transaction that changed them."""
    if ordered := sorted(days):
        await conn.execute(QUERIES["note_onboarding_days"], ordered)


async def note_users(conn: asyncpg.Connection, users: Sequence[str]) -> Sequence[date]:
    """The days of these users as their rows say now: before and after a change beside the log. Tells which."""
    found: Sequence[date] | None = await conn.fetchval(QUERIES["note_users_begun"], list(users))
    return found or ()


async def count_now(conn: asyncpg.Connection, days: Sequence[date]) -> None:
    """Count these days without waiting for a pass; the caller owns the transaction."""
    await conn.execute(QUERIES["wait_counting_days"])
    await save(conn, days)
