"""Lessons, courses and certificates from their facts, through the folds of the worker, by the catalog of the moment."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg

from db import sql
from jobs.action import Action
from jobs.courses import certificate, course, models
from jobs.courses import lesson as lessons
from jobs.courses import states as course_states
from jobs.courses.certificate import Certificate
from jobs.courses.course import NO_COURSE, Enrolment
from jobs.courses.fold import FOLDS, Refused
from jobs.courses.kinds import KINDS
from jobs.courses.lesson import LessonProgress
from jobs.courses.states import States
from jobs.family import Difference
from jobs.tracking import facts as session_facts

QUERIES: Final = sql.read("course_facts")
PREFETCH: Final = 2000
_BETWEEN: Final = "\x1f"
"""Between the two ids of a key: no id holds a control character."""
_DECODERS: Final = {kind.name: kind.decoder.decode for kind in KINDS}


def _key(user_id: str, other: str) -> str:
    return f"{user_id}{_BETWEEN}{other}"


def _split(keys: Iterable[str]) -> tuple[list[str], list[str]]:
    """The users, and their lessons or courses."""
    pairs = [key.split(_BETWEEN) for key in keys]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


async def folded(conn: asyncpg.Connection, subjects: Sequence[str], *, certified: bool = False) -> States:
    """All facts of these users, folded by the courses as they are taught now; `certified`: certificates matter."""
    states = States(await course_states.shared(conn), recorded=True)
    states.lessons = {row[0]: row[1] for row in await conn.fetch(QUERIES["fact_lessons"], subjects)}
    named = {row[0] for row in await conn.fetch(QUERIES["fact_courses"], subjects)}
    states.courses = await course_states.courses(conn, named | set(states.lessons.values()))
    told = await _told(conn, subjects) if certified else {}
    async for row in conn.cursor(QUERIES["course_facts"], subjects, prefetch=PREFETCH):
        if told and row["kind"].startswith("certificate."):
            # What is ruled is ruled about the certificates that there were; the facts of that kind are the last.
            _issue_as_told(states, told)
            told = {}
        _fold(states, row)
    _issue_as_told(states, told)
    for standing in states.changed_standings.values():
        standing.reckon()
    return states


class _Told(NamedTuple):
    """A certificate as the outcomes name it, and when the first one that did so arrived."""

    serial: str
    received_at: datetime


async def _told(conn: asyncpg.Connection, subjects: Sequence[str]) -> dict[course_states.Key, _Told]:
    rows = await conn.fetch(QUERIES["told_certificates"], subjects)
    return {(row["user_id"], row["course_id"]): _Told(row["serial"], row["received_at"]) for row in rows}


def _issue_as_told(states: States, told: Mapping[course_states.Key, _Told]) -> None:
    """A certificate was issued by the course of its day: its serial, and its time where the course has changed since.

    One that the course of today would not issue is there, all the same.
    """
    for (user_id, course_id), (serial, received_at) in told.items():
        held, course_now = states.certificates[user_id].get(course_id), states.courses.get(course_id)
        if held is None:
            enrolment = states.enrolments[user_id].get(course_id)
            name = None if enrolment is None else enrolment.learner_name
            held = Certificate(serial, user_id, course_id, received_at, learner_name=name)
            states.certificates[user_id][course_id] = states.changed_certificates[user_id, course_id] = held
        elif course_now is not None and course_now.updated_at > received_at:
            held.issued_at = received_at
        held.serial = serial


def _fold(states: States, row: asyncpg.Record) -> None:
    data = row["data"].encode()
    action = Action(
        *(row["id"], row["kind"], row["subject"], row["at"], row["received_at"], row["flags"], data, row["user_id"])
    )
    # A ruling about a certificate of which retention has dropped the facts: the one that is there is left alone.
    with contextlib.suppress(Refused):
        FOLDS[action.kind](states, action, _DECODERS[action.kind](data))


class _Table:
    """What the tables share: keys of two ids, paged in their order."""

    name: str

    async def count(self, conn: asyncpg.Connection) -> int:
        """The planner's estimate."""
        number: int = await conn.fetchval(QUERIES[f"count_{self.name}"])
        return number

    async def page(self, conn: asyncpg.Connection, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """The next rows by user and lesson or course."""
        user_id, _, other = after.partition(_BETWEEN)
        rows = await conn.fetch(QUERIES[f"page_{self.name}"], user_id, other, limit)
        return [(_key(*row), f"user:{row[0]}") for row in rows]

    async def orphans(self, conn: asyncpg.Connection) -> AsyncIterator[tuple[str, str]]:
        """Rows that only facts know of: one pass over all of them."""
        async for row in conn.cursor(QUERIES[f"orphan_{self.name}"], prefetch=PREFETCH):
            yield _key(*row), f"user:{row[0]}"

    async def delete(self, conn: asyncpg.Connection, keys: Sequence[str]) -> None:
        """Rows without any fact."""
        await conn.execute(QUERIES[f"delete_{self.name}"], *_split(keys))

    def models(self, key: str) -> Iterable[str]:
        """All of a user: which course a lesson counts in may be what differs."""
        user_id, _, course_id = key.partition(_BETWEEN)
        return (
            models.course_name(user_id, course_id),
            models.statistics_name(user_id),
            models.certificates_name(user_id),
        )


async def _oldest(conn: asyncpg.Connection) -> datetime | None:
    oldest: datetime | None = await conn.fetchval(session_facts.QUERIES["oldest_day"])
    return oldest


def _missing(kept: object, rebuilt: object) -> list[Difference]:
    return [("(row)", "missing" if kept is None else "there", "there" if rebuilt else "no facts")]


def _fields(kept: Any, rebuilt: Any, names: Iterable[str]) -> list[Difference]:
    found = [(name, getattr(kept, name), getattr(rebuilt, name)) for name in names]
    return [(name, mine, theirs) for name, mine, theirs in found if mine != theirs]


class LessonRows(_Table):
    """`user_progress`, keyed by user and lesson."""

    name = "user_progress"

    def __init__(self) -> None:
        self._homes: dict[str, set[str]] = {}

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, LessonProgress | None]:
        """The rows; None for one that began to arrive before the oldest day of facts."""
        oldest = await _oldest(conn)
        rows = [LessonProgress(*row) for row in await conn.fetch(QUERIES["kept_user_progress"], *_split(keys))]
        self._homes = {}
        return {self._known(row): None if oldest is None or row.received_at < oldest else row for row in rows}

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, LessonProgress]:
        """The rows as the facts say."""
        wanted = set(keys)
        found = {self._known(row): row for row in (await folded(conn, subjects)).rows.values()}
        return {key: row for key, row in found.items() if key in wanted}

    def _known(self, row: LessonProgress) -> str:
        key = _key(row.user_id, row.lesson_id)
        self._homes.setdefault(key, set()).add(row.course_id or NO_COURSE)
        return key

    def differences(
        self, kept: LessonProgress | None, rebuilt: LessonProgress | None, now: datetime
    ) -> Sequence[Difference]:
        """Field by field."""
        return _missing(kept, rebuilt) if kept is None or rebuilt is None else _fields(kept, rebuilt, lessons.COLUMNS)

    async def save(self, conn: asyncpg.Connection, rows: Sequence[LessonProgress]) -> None:
        """The upsert of the worker."""
        await course_states.save(conn, "save_progress", {(row.user_id, row.lesson_id): row for row in rows})

    def models(self, key: str) -> Iterable[str]:
        """Of every course that the lesson counts in, or should."""
        user_id = key.partition(_BETWEEN)[0]
        for course_id in self._homes.get(key, ()):
            yield from super().models(_key(user_id, course_id))


class CourseRows(_Table):
    """`user_courses`, keyed by user and course."""

    name = "user_courses"

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, Enrolment | None]:
        """The rows; None for one that began to arrive before the oldest day of facts."""
        oldest = await _oldest(conn)
        rows = [Enrolment(*row) for row in await conn.fetch(QUERIES["kept_user_courses"], *_split(keys))]
        return {
            _key(row.user_id, row.course_id): None if oldest is None or row.received_at < oldest else row
            for row in rows
        }

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, Enrolment]:
        """The rows as the facts say."""
        wanted = set(keys)
        standings = (await folded(conn, subjects)).changed_standings.items()
        return {key: one.enrolment for pair, one in standings if (key := _key(*pair)) in wanted}

    def differences(self, kept: Enrolment | None, rebuilt: Enrolment | None, now: datetime) -> Sequence[Difference]:
        """Field by field. Who is not enrolled may have a row, left from before a lesson went to another course."""
        if kept is None or rebuilt is None:
            there = kept or rebuilt
            return [] if there is None or there.enrolled_at is None else _missing(kept, rebuilt)
        names = (*course.RECKONED, "declared_at", "learner_name", "named_at")
        return _fields(kept, rebuilt, names)

    async def save(self, conn: asyncpg.Connection, rows: Sequence[Enrolment]) -> None:
        """The upsert of the worker."""
        await course_states.save(conn, "save_enrolments", {(row.user_id, row.course_id): row for row in rows})


class CertificateRows(_Table):
    """`certificates`, keyed by user and course: what was ever issued stays, whatever the course has become since.

    When one was issued is in no fact of its own: it is reckoned for a row that is missing, and else believed.
    """

    name = "certificates"

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, Certificate | None]:
        """The rows; None where the user began in the course before the oldest day of facts."""
        oldest = await _oldest(conn)
        found: dict[str, Certificate | None] = {}
        for *columns, since in await conn.fetch(QUERIES["kept_certificates"], *_split(keys)):
            row = Certificate(*columns)
            found[_key(row.user_id, row.course_id)] = None if oldest is None or since < oldest else row
        return found

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, Certificate]:
        """Those that the facts tell of, and those that the courses of today issue for them."""
        wanted = set(keys)
        issued = (await folded(conn, subjects, certified=True)).changed_certificates.items()
        return {key: one for pair, one in issued if (key := _key(*pair)) in wanted}

    def differences(self, kept: Certificate | None, rebuilt: Certificate | None, now: datetime) -> Sequence[Difference]:
        """Field by field, but for the time of issue."""
        if kept is None or rebuilt is None:
            return _missing(kept, rebuilt)
        return _fields(kept, rebuilt, [name for name in certificate.COLUMNS if name != "issued_at"])

    async def save(self, conn: asyncpg.Connection, rows: Sequence[Certificate]) -> None:
        """The upsert of the worker leaves serial and time of issue as they are; here, the time alone."""
        await course_states.save(conn, "save_certificates", {(row.user_id, row.course_id): row for row in rows})
        serials = [(row.user_id, row.course_id, row.serial) for row in rows]
        await conn.execute(QUERIES["mend_serials"], *map(list, zip(*sorted(serials), strict=True)))
