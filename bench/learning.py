"""The Open University's learning analytics (OULAD) as actions: presentations are courses, assessments are lessons.

Registrations become `course.enrolled`, submissions `lesson.completed`, in the order of their days. The ids come from
the rows: played twice, nothing changes. What must follow is counted from the files alone, by the rule of the docs.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import msgspec

from bench.traffic import DEVICES, Expected, Request, Stretch

BATCH: Final = 500
COURSES: Final = "courses.csv"
_encode: Final = msgspec.json.Encoder().encode


def read(folder: Path) -> Stretch:
    """The stretch to play, and what must come of it. OSError, KeyError or ValueError for files of another form."""
    courses = {row["course_id"]: row for row in _rows(folder / COURSES)}
    lessons: dict[str, list[dict[str, Any]]] = {course: [] for course in courses}
    for row in _rows(folder / "lessons.csv"):
        title = f"{row['assessment_type']} {len(lessons[row['course_id']]) + 1}"
        lessons[row["course_id"]].append({"id": row["id_assessment"], "title": title})
    bodies = [
        {"id": course, "title": f"{course[:3]}, presentation {course[4:]}", "lessons": lessons[course]}
        for course in courses
    ]
    enrolled = list(_rows(folder / "registrations.csv.gz"))
    submitted = list(_rows(folder / "submissions.csv.gz"))
    actions = [*map(_enrolment, enrolled), *map(_completion, submitted)]
    actions.sort(key=lambda action: str(action["at"]))
    students = {row["id_student"] for row in enrolled}
    return Stretch(
        "the Open University's courses (OULAD)",
        _lanes(actions),
        "",
        [
            f"{len(courses)} courses with {sum(map(len, lessons.values()))} lessons, {len(students):,} students",
            f"{len(enrolled):,} enrolments, {len(submitted):,} lessons completed",
        ],
        courses=_encode({"courses": bodies}),
        expected=_expected(lessons, enrolled, submitted),
    )


def _expected(
    lessons: Mapping[str, list[dict[str, Any]]], enrolled: list[dict[str, str]], submitted: list[dict[str, str]]
) -> Expected:
    done: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in submitted:
        done[_user(row), row["course_id"]].add(row["id_assessment"])
    certified = frozenset(
        key for key, ids in done.items() if lessons[key[1]] and {one["id"] for one in lessons[key[1]]} <= ids
    )
    pairs = {(_user(row), row["course_id"]) for row in enrolled}
    return Expected(len(lessons), len(pairs), sum(map(len, done.values())), certified)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
        yield from csv.DictReader(file)


def _user(row: Mapping[str, str]) -> str:
    return f"student-{row['id_student']}"


def _enrolment(row: Mapping[str, str]) -> dict[str, Any]:
    # A registration without a day was one before the presentation began: the earliest of all, so that it comes first.
    day = row["registered_on"] or "2012-01-01"
    return {
        "id": f"oulad-{row['course_id']}-{row['id_student']}-enrolled",
        "kind": "course.enrolled",
        "at": f"{day}T00:00:00Z",
        "userId": _user(row),
        "data": {"courseId": row["course_id"]},
    }


def _completion(row: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": f"oulad-{row['course_id']}-{row['id_student']}-{row['id_assessment']}",
        "kind": "lesson.completed",
        "at": f"{row['submitted_on']}T12:00:00Z",
        "userId": _user(row),
        "data": {"lessonId": row["id_assessment"], "courseId": row["course_id"]},
    }


def _lanes(actions: list[dict[str, Any]]) -> list[list[Request]]:
    """A student stays in one lane, and so in order."""
    lanes: list[list[dict[str, Any]]] = [[] for _ in range(DEVICES)]
    for action in actions:
        lanes[crc32(action["userId"].encode()) % DEVICES].append(action)
    return [[_request(lane[start : start + BATCH]) for start in range(0, len(lane), BATCH)] for lane in lanes]


def _request(actions: list[dict[str, Any]]) -> Request:
    return Request([_encode(one) for one in actions], [one["id"] for one in actions])
