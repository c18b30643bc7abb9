"""One user's progress in one course: pure functions of the rows of its lessons and of the course as it is taught."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

from jobs.courses import certificate
from jobs.courses.certificate import Rule
from jobs.courses.lesson import LessonProgress

NO_COURSE: Final = ""
"""Stands for the course of lessons of which nobody knows it: the statistics count them, too."""


class Course(msgspec.Struct, frozen=True):
    """A course of the catalog, with its current lessons; a deleted one has none."""

    course_id: str
    title: str
    certificate: Rule
    updated_at: datetime
    deleted_at: datetime | None
    lessons: frozenset[str]


class Enrolment(msgspec.Struct):
    """One row of `user_courses`; the fields are its columns, in order. What is told of it, then what is reckoned."""

    user_id: str
    course_id: str
    received_at: datetime
    declared_at: datetime | None = None
    learner_name: str | None = None
    named_at: datetime | None = None
    enrolled_at: datetime | None = None
    last_at: datetime | None = None
    lessons_total: int | None = None
    lessons_completed: int = 0
    watch_time_seconds: int = 0
    completed_at: datetime | None = None


COLUMNS: Final = Enrolment.__struct_fields__
RECKONED: Final = ("enrolled_at", "last_at", "lessons_total", "lessons_completed", "watch_time_seconds", "completed_at")


def percentage(completed: int, total: int | None) -> int | None:
    """completed/total in percent, floor(x + 0.5), 0..100; None when the course has no lessons or is unknown."""
    return (200 * completed + total) // (2 * total) if total else None


def enrol(enrolment: Enrolment, at: datetime, learner_name: str | None) -> None:
    """`course.enrolled`: the first time counts, and the newest name."""
    enrolment.declared_at = at if enrolment.declared_at is None else min(enrolment.declared_at, at)
    if learner_name is not None and (
        enrolment.named_at is None or (at, learner_name) > (enrolment.named_at, enrolment.learner_name)
    ):
        enrolment.learner_name, enrolment.named_at = learner_name, at


class Standing:
    """A user in a course while a batch is folded: the rows of its lessons, and three sums over them that keep up."""

    def __init__(self, enrolment: Enrolment, course: Course | None) -> None:
        self.enrolment, self.course = enrolment, course
        self.rows: dict[str, LessonProgress] = {}
        self.completed = self.ever = self.watched = 0

    @property
    def total(self) -> int | None:
        """Lessons of the course; None when nobody has described it."""
        return None if self.course is None or self.course.deleted_at is not None else len(self.course.lessons)

    def put(self, row: LessonProgress) -> None:
        """A row belongs to this course from here on."""
        self.rows[row.lesson_id] = row
        self._count(row, 1)

    def take(self, row: LessonProgress) -> None:
        """It is about to change, or to go elsewhere: what it counts for now is taken off."""
        if self.rows.pop(row.lesson_id, None) is not None:
            self._count(row, -1)

    def _count(self, row: LessonProgress, sign: int) -> None:
        current = self.total is None or (self.course is not None and row.lesson_id in self.course.lessons)
        if row.deleted_at is None:
            self.watched += sign * row.watch_time_seconds
            self.completed += sign * (current and row.completed)
        self.ever += sign * (current and row.first_completed_at is not None)

    def deserved_at(self) -> datetime | None:
        """When the course's rule for certificates came to hold; None: it does not."""
        course = self.course
        if (
            course is None
            or not self.ever
            or (course.certificate == "course_completed" and self.ever < len(course.lessons))
        ):
            return None
        return certificate.deserved_at(course.certificate, course.lessons, course.updated_at, self.rows)

    def reckon(self) -> Enrolment:
        """The row of `user_courses` as it follows from the rows of the lessons."""
        enrolment, rows = self.enrolment, self.rows.values()
        live = [row for row in rows if row.deleted_at is None]
        enrolment.enrolled_at = _least((enrolment.declared_at, *(row.created_at for row in live)))
        enrolment.last_at = _most((enrolment.declared_at, *(row.updated_at for row in rows)))
        enrolment.lessons_total = self.total
        enrolment.lessons_completed = self.completed
        enrolment.watch_time_seconds = self.watched
        enrolment.completed_at = self._completed_at()
        return enrolment

    def _completed_at(self) -> datetime | None:
        if self.course is None or not self.total or self.completed < self.total:
            return None
        return _most(self.rows[lesson].first_completed_at for lesson in self.course.lessons)


def _least(times: Iterable[datetime | None]) -> datetime | None:
    return min((at for at in times if at is not None), default=None)


def _most(times: Iterable[datetime | None]) -> datetime | None:
    return max((at for at in times if at is not None), default=None)


def counts(completed: int, total: int | None, watched: int) -> dict[str, Any]:
    """Seconds, lessons and their share."""
    return {
        "total_lessons": total,
        "completed_lessons": completed,
        "progress_percentage": percentage(completed, total),
        "total_watch_time": watched,
    }


def details(enrolment: Enrolment) -> dict[str, Any]:
    """The course progress with its times."""
    return {
        "courseId": enrolment.course_id,
        **counts(enrolment.lessons_completed, enrolment.lessons_total, enrolment.watch_time_seconds),
        "enrolledAt": enrolment.enrolled_at,
        "lastAt": enrolment.last_at,
        "completedAt": enrolment.completed_at,
    }


def statistics(enrolments: Iterable[Enrolment]) -> dict[str, Any]:
    """All of a user's courses: how many, completed lessons, hours watched (two decimals), and each by itself."""
    every = list(enrolments)
    courses = sorted((one for one in every if one.course_id and one.enrolled_at), key=lambda one: one.course_id)
    return {
        "total_courses_enrolled": len(courses),
        "total_lessons_completed": sum(one.lessons_completed for one in every),
        "total_watch_time_hours": round(sum(one.watch_time_seconds for one in every) / 3600, 2),
        "courses": [details(one) for one in courses],
    }
