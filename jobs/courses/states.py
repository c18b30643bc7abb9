"""What a batch of course actions touches, loaded with one query per table, and where each row of it belongs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal
from uuid import UUID

import asyncpg
import msgspec

from db import sql
from jobs import catalog
from jobs.action import Action
from jobs.courses import lesson as lessons
from jobs.courses.certificate import Certificate
from jobs.courses.course import NO_COURSE, Course, Enrolment, Standing
from jobs.courses.kinds import CourseChanged, CourseEnrolled
from jobs.courses.lesson import LessonProgress
from jobs.family import Emitted, Item

QUERIES: Final = sql.read("courses")
USER: Final = len("user:")
Key = tuple[str, str]
"""(user, course) or (user, lesson)."""


class States:
    """The states of one batch. All courses and certificates of its users are here, and lessons of touched courses."""

    def __init__(
        self,
        serial_key: bytes,
        unknown: Literal["accept", "reject"] = "accept",
        looks_up: bool = False,
        *,
        recorded: bool = False,
    ) -> None:
        """`recorded`: what is folded are facts, which were judged when they came."""
        self.serial_key = serial_key
        """What the serials of certificates are made with."""
        self.unknown, self.looks_up, self.recorded = unknown, looks_up, recorded
        self.public_url = ""
        """Before the addresses that leave the house; without it they are paths."""
        self.lessons: dict[str, str] = {}
        """lesson -> its course, as the catalog says"""
        self.courses: dict[str, Course] = {}
        self.rows: dict[Key, LessonProgress] = {}
        self.standings: dict[Key, Standing] = {}
        self.enrolments: dict[str, dict[str, Enrolment]] = defaultdict(dict)
        self.certificates: dict[str, dict[str, Certificate]] = defaultdict(dict)
        self.titles: dict[str, str] = {}
        self.strays: dict[str, list[str]] = defaultdict(list)
        """user -> lessons that the catalog has in another course than they count in"""
        self.kept_rows: frozenset[Key] = frozenset()
        self.kept_enrolments: frozenset[Key] = frozenset()
        """What Postgres has of the rows and the enrolments of this batch"""
        self.changed_rows: dict[Key, LessonProgress] = {}
        self.changed_standings: dict[Key, Standing] = {}
        self.changed_certificates: dict[Key, Certificate] = {}
        self.outcomes: dict[int, bytes] = {}
        """id() of an action of this batch -> its outcome, which later ones of the batch must not change"""
        self.emitted = Emitted()

    def home(self, lesson_id: str, claimed: str | None) -> str:
        """The course of a lesson: the catalog's, else the one that a client named."""
        return self.lessons.get(lesson_id) or claimed or NO_COURSE

    def add(self, row: LessonProgress) -> None:
        """Take a row in, as it is kept."""
        self.rows[row.user_id, row.lesson_id] = row
        self.standing(row.user_id, row.course_id or NO_COURSE, row).put(row)

    def standing(self, user_id: str, course_id: str, since: Action | LessonProgress) -> Standing:
        """A user in a course, from the arrival of `since` at the latest."""
        found = self.standings.get((user_id, course_id))
        if found is None:
            own = self.enrolments[user_id]
            enrolment = own.get(course_id)
            if enrolment is None:
                enrolment = own[course_id] = Enrolment(user_id, course_id, since.received_at)
            found = self.standings[user_id, course_id] = Standing(enrolment, self.courses.get(course_id))
        found.enrolment.received_at = min(found.enrolment.received_at, since.received_at)
        return found

    def row(self, user_id: str, lesson_id: str, action: Action) -> LessonProgress:
        """The row of a lesson, opened if need be."""
        found = self.rows.get((user_id, lesson_id))
        if found is None:
            found = self.rows[user_id, lesson_id] = lessons.opened(user_id, lesson_id, action)
        return found

    def settle(self, row: LessonProgress) -> Standing:
        """Put a changed row where it belongs now; it must have been taken from where it was."""
        course_id = self.home(row.lesson_id, row.claimed_course_id)
        row.course_id = course_id or None
        standing = self.standing(row.user_id, course_id, row)
        standing.put(row)
        self.changed_rows[row.user_id, row.lesson_id] = row
        self.changed_standings[row.user_id, course_id] = standing
        return standing

    def take(self, row: LessonProgress) -> None:
        """A row is about to change."""
        key = (row.user_id, row.course_id or NO_COURSE)
        if (standing := self.standings.get(key)) is not None and row.lesson_id in standing.rows:
            standing.take(row)
            self.changed_standings[key] = standing


async def shared(conn: asyncpg.Connection) -> bytes:
    """Lock the courses as they are until the commit; the key of the serials, which comes with it."""
    key: UUID | None = await conn.fetchval(QUERIES["share_courses"])
    if key is None:
        # Not an error of the batch: nothing of it may become a dead letter.
        raise RuntimeError("the table certificate_key is empty: bring its row back from a backup, or insert a new one")
    return key.bytes


async def load(conn: asyncpg.Connection, items: Sequence[Item], *, looks_up: bool) -> States:
    """One query per table, behind the lock that keeps the courses as they are until the commit."""
    states = States(await shared(conn), (await catalog.load(conn)).courses.unknown, looks_up)
    users = sorted({action.subject[USER:] for _, action, _ in items})
    pairs = await _places(conn, states, items)
    for row in await conn.fetch(QUERIES["load_enrolments"], users):
        enrolment = Enrolment(*row)
        states.enrolments[enrolment.user_id][enrolment.course_id] = enrolment
    states.kept_enrolments = frozenset((user_id, one) for user_id, own in states.enrolments.items() for one in own)
    states.courses = await courses(conn, {course_id for _, course_id in pairs})
    # Read as they are kept, before a row of this batch can be put anywhere.
    await _rows(conn, states, pairs)
    states.kept_rows = frozenset(states.rows)
    for row in await conn.fetch(QUERIES["load_certificates"], users):
        *columns, title = row
        certificate = Certificate(*columns)
        states.certificates[certificate.user_id][certificate.course_id] = certificate
        states.titles[certificate.course_id] = title
    states.titles |= {course.course_id: course.title for course in states.courses.values()}
    return states


async def _places(conn: asyncpg.Connection, states: States, items: Sequence[Item]) -> set[Key]:
    """(user, course) of every standing that this batch may change."""
    places, touched, changed = set[Key](), set[Key](), set[str]()
    for _, action, payload in items:
        user_id = action.subject[USER:]
        if (lesson_id := getattr(payload, "lesson_id", None)) is not None:
            touched.add((user_id, lesson_id))
            places.add((user_id, getattr(payload, "course_id", None) or NO_COURSE))
        elif isinstance(payload, CourseEnrolled | CourseChanged):
            places.add((user_id, payload.course_id))
            if isinstance(payload, CourseChanged):
                changed.add(user_id)
    if touched:
        await _homes(conn, states, touched, places)
    if changed:
        for user_id, lesson_id, held_in, course_id in await conn.fetch(QUERIES["load_strays"], list(changed)):
            states.lessons[lesson_id] = course_id
            states.strays[user_id].append(lesson_id)
            places |= {(user_id, held_in or NO_COURSE), (user_id, course_id)}
    return places


async def _homes(conn: asyncpg.Connection, states: States, touched: set[Key], places: set[Key]) -> None:
    wanted = list({lesson_id for _, lesson_id in touched})
    states.lessons |= {row[0]: row[1] for row in await conn.fetch(QUERIES["load_lessons"], wanted)}
    for user_id, course_id, claimed in await conn.fetch(QUERIES["load_homes"], *_columns(touched)):
        places |= {(user_id, course_id or NO_COURSE), (user_id, claimed or NO_COURSE)}
    places |= {(user_id, states.lessons.get(lesson_id, NO_COURSE)) for user_id, lesson_id in touched}


async def courses(conn: asyncpg.Connection, wanted: Iterable[str]) -> dict[str, Course]:
    """The courses of the catalog, with their current lessons."""
    rows = await conn.fetch(QUERIES["load_courses"], [course_id for course_id in wanted if course_id])
    return {
        course_id: Course(course_id, title, rule, updated_at, deleted_at, frozenset(lesson_ids))
        for course_id, title, rule, updated_at, deleted_at, lesson_ids in rows
    }


async def _rows(conn: asyncpg.Connection, states: States, places: set[Key]) -> None:
    known = {(user_id, course_id) for user_id, course_id in places if course_id}
    homeless = list({user_id for user_id, course_id in places if not course_id})
    if places:
        for row in await conn.fetch(QUERIES["load_progress"], *_columns(known), homeless):
            states.add(LessonProgress(*row))


def _columns(keys: Iterable[Key]) -> tuple[list[str], list[str]]:
    ordered = list(keys)
    return [key[0] for key in ordered], [key[1] for key in ordered]


async def put(
    conn: asyncpg.Connection, table: str, query: str, changed: Mapping[Key, msgspec.Struct], kept: frozenset[Key]
) -> None:
    """Copy new rows in (25 us each, where an upsert takes 48), and update those that are `kept`; both ordered by key.

    Who holds the partition alone writes these users, so that a row that was not loaded is not there.
    """
    if fresh := sorted(changed.keys() - kept):
        columns = changed[fresh[0]].__struct_fields__
        records = [msgspec.structs.astuple(changed[key]) for key in fresh]
        await conn.copy_records_to_table(table, records=records, columns=columns)
    await save(conn, query, {key: changed[key] for key in changed.keys() & kept})


async def save(conn: asyncpg.Connection, query: str, changed: Mapping[Any, msgspec.Struct]) -> None:
    """One upsert in the order of the keys, so that two writers can never wait for each other."""
    if changed:
        rows = [msgspec.structs.astuple(changed[key]) for key in sorted(changed)]
        await conn.execute(QUERIES[query], *map(list, zip(*rows, strict=True)))
