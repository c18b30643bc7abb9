"""Course actions for tests, what must come of them as reckoned anew, and the family without a Postgres."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import strategies as st

from db.stream import START as NOWHERE
from jobs.action import Action
from jobs.courses import lesson as lessons
from jobs.courses.certificate import Certificate
from jobs.courses.course import RECKONED, Course, Enrolment
from jobs.courses.family import Courses
from jobs.courses.kinds import KINDS, CourseChanged
from jobs.courses.lesson import LessonProgress
from jobs.courses.states import States
from jobs.family import Item
from tests.jobs.making import NOW, START

MINUTE = timedelta(minutes=1)
KEY = bytes(range(16))
DECODERS = {kind.name: kind.decoder for kind in KINDS}
family = Courses(lambda: False)
Key = tuple[str, str]
Rows = dict[Key, dict[str, Any]]


def act(action_id: str, kind: str, *, user: str = "ada", minute: int = 0, flags: int = 0, **data: Any) -> Action:
    """An action of a user, as the door makes it."""
    body = json.dumps(data).encode()
    return Action(action_id, kind, f"user:{user}", START + minute * MINUTE, NOW, flags, body, user)


def course(course_id: str, *lesson_ids: str, rule: str = "course_completed", deleted: bool = False) -> Course:
    """A course of the catalog."""
    ended = START if deleted else None
    return Course(course_id, course_id.title(), rule, START, ended, frozenset(lesson_ids))  # type: ignore[arg-type]


KNOTS = course("knots", "bowline", "hitch")
SAILS = course("sails", "jib", rule="lesson_completed")
EMPTY = course("empty")
CATALOG = {one.course_id: one for one in (KNOTS, SAILS, EMPTY)}
"""`whistle` is a lesson of nobody; `winds` a course that nobody has described."""

_kinds: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.tuples(st.just("lesson.watched"), st.fixed_dictionaries({"seconds": st.integers(0, 9)})),
    st.tuples(
        st.just("lesson.progress_set"),
        st.fixed_dictionaries({}, optional={"completed": st.booleans(), "watchTimeSeconds": st.integers(0, 40)}),
    ),
    st.tuples(st.just("lesson.completed"), st.just({})),
    st.tuples(st.just("lesson.reopened"), st.just({})),
)
_lessons = st.sampled_from(["bowline", "hitch", "jib", "whistle"])


@st.composite
def learning(draw: st.DrawFn, claims: Sequence[str | None] = (None, "knots", "winds")) -> list[Action]:
    """Distinct actions of a few users, from pools so small that times and lessons collide."""
    kinds = st.one_of(_kinds, st.just(("lesson.progress_deleted", {})), st.just(("course.enrolled", {})))
    rows = st.tuples(kinds, st.sampled_from(["ada", "bob"]), _lessons, st.sampled_from(claims), st.integers(0, 6))
    return [_made(f"a{n}", *row) for n, row in enumerate(draw(st.lists(rows, max_size=20)))]


def _made(
    action_id: str, what: tuple[str, dict[str, Any]], user: str, lesson: str, claim: str | None, minute: int
) -> Action:
    kind, data = what
    if kind == "course.enrolled":
        named: dict[str, Any] = {"learnerName": f"{user}{minute % 3}"} if minute % 2 else {}
        return act(action_id, kind, user=user, minute=minute, courseId=claim or "knots", **named)
    given: dict[str, Any] = (
        {"courseId": claim} if claim and lesson == "whistle" and kind != "lesson.progress_deleted" else {}
    )
    return act(action_id, kind, user=user, minute=minute, lessonId=lesson, **given, **data)


class Memory:
    """Postgres's part without Postgres: what was saved before is what the next batch loads, all of it."""

    def __init__(self, catalog: Mapping[str, Course] = CATALOG, unknown: str = "accept") -> None:
        self.catalog, self.unknown = dict(catalog), unknown
        self.rows: dict[Key, LessonProgress] = {}
        self.enrolments: dict[Key, Enrolment] = {}
        self.certificates: dict[Key, Certificate] = {}
        self.facts: list[tuple[Any, ...]] = []
        self.effects: list[tuple[str, str]] = []
        self.refused: list[tuple[str, str]] = []
        self.seen: set[tuple[str, str]] = set()

    def homes(self) -> dict[str, str]:
        """lesson -> course"""
        return {lesson: one.course_id for one in self.catalog.values() for lesson in one.lessons}

    def apply(self, actions: Iterable[Action]) -> States:
        """One batch: only ids not seen before."""
        new = []
        for action in actions:
            if (action.subject, action.id) not in self.seen:
                self.seen.add((action.subject, action.id))
                new.append(action)
        states = self._load(items(new))
        self.facts += family.fold(states, items(new))["course_events"]
        emitted = family.emitted(states)
        self.effects += [(one.type, one.id) for one in emitted.effects]
        self.refused += [(one.action.id, one.code) for one in emitted.refused]
        # As Postgres keeps them: values, not objects that the next batch would change.
        for key, row in states.changed_rows.items():
            self.rows[key] = msgspec.structs.replace(row)
        for key, standing in states.changed_standings.items():
            self.enrolments[key] = msgspec.structs.replace(standing.enrolment)
        for key, held in states.changed_certificates.items():
            self.certificates[key] = msgspec.structs.replace(held)
        return states

    def _load(self, batch: Sequence[Item]) -> States:
        states = States(KEY, self.unknown)  # type: ignore[arg-type]
        states.courses = dict(self.catalog)
        states.lessons = self.homes()
        for (user_id, course_id), enrolment in self.enrolments.items():
            states.enrolments[user_id][course_id] = msgspec.structs.replace(enrolment)
        for (user_id, course_id), held in self.certificates.items():
            states.certificates[user_id][course_id] = msgspec.structs.replace(held)
        states.titles = {one.course_id: one.title for one in self.catalog.values()}
        for row in self.rows.values():
            states.add(msgspec.structs.replace(row))
        for user_id in {action.subject[5:] for _, action, payload in batch if isinstance(payload, CourseChanged)}:
            for (owner, lesson_id), row in self.rows.items():
                if owner == user_id and states.lessons.get(lesson_id, row.course_id) != row.course_id:
                    states.strays[user_id].append(lesson_id)
        return states

    def lessons(self) -> Rows:
        """The rows of user_progress that are not deleted."""
        return {key: lessons.view(row) for key, row in self.rows.items() if row.deleted_at is None}

    def courses(self) -> Rows:
        """What is reckoned of each course that somebody is in."""
        return {key: reckoned(row) for key, row in self.enrolments.items() if row.enrolled_at is not None}

    def certified(self) -> dict[Key, tuple[Any, ...]]:
        """(serial, status, name) of every certificate."""
        return {key: (one.serial, one.status, one.learner_name) for key, one in self.certificates.items()}


def reckoned(row: Enrolment) -> dict[str, Any]:
    """The part of an enrolment that follows from the lessons, and the name."""
    return {name: getattr(row, name) for name in (*RECKONED, "learner_name")}


def items(actions: Iterable[Action]) -> list[Item]:
    """Actions as a batch has them."""
    return [(NOWHERE, action, DECODERS[action.kind].decode(action.data)) for action in actions]


def applied(batches: Iterable[Sequence[Action]], catalog: Mapping[str, Course] = CATALOG) -> Memory:
    """All of it, batch by batch."""
    memory = Memory(catalog)
    for batch in batches:
        memory.apply(batch)
    return memory


def oracle_lessons(actions: Iterable[Action], catalog: Mapping[str, Course] = CATALOG) -> Rows:
    """The visible rows of user_progress for distinct actions, written from the contract."""
    return {key: view for key, (view, _) in _told(actions, catalog).items() if view is not None}


def oracle_courses(actions: Sequence[Action], catalog: Mapping[str, Course] = CATALOG) -> Rows:
    """What must be reckoned of each course that somebody is in."""
    told, found = _told(actions, catalog), {}
    enrolled = [(a, json.loads(a.data)) for a in actions if a.kind == "course.enrolled"]
    homes = {(key[0], home): None for key, (_, home) in told.items()}
    for user, course_id in {*homes, *((a.user_id or "", d["courseId"]) for a, d in enrolled)}:
        declared = [
            (a.at, d.get("learnerName")) for a, d in enrolled if (a.user_id, d["courseId"]) == (user, course_id)
        ]
        views = [view for (who, _), (view, home) in told.items() if (who, home) == (user, course_id) and view]
        spans = [span for (who, _), (_, home), span in _spans(actions, told) if (who, home) == (user, course_id)]
        starts = [at for at, _ in declared] + [view["createdAt"] for view in views]
        if not starts:
            continue
        taught = catalog.get(course_id)
        current = [v for v in views if taught is None or v["lessonId"] in taught.lessons]
        done = [view for view in current if view["completed"]]
        total = None if taught is None else len(taught.lessons)
        found[user, course_id] = {
            "enrolled_at": min(starts),
            "last_at": max([min((at for at, _ in declared), default=START), *spans]),
            "lessons_total": total,
            "lessons_completed": len(done),
            "watch_time_seconds": sum(view["watch_time_seconds"] for view in views),
            "completed_at": _completed(actions, user, taught) if total and len(done) == total else None,
            "learner_name": max(((at, name) for at, name in declared if name), default=(None, None))[1],
        }
    return found


def oracle_certified(actions: Sequence[Action], catalog: Mapping[str, Course] = CATALOG) -> set[Key]:
    """Who must have a certificate of what."""
    ever = {
        (a.user_id, d["lessonId"])
        for a in actions
        if a.kind in ("lesson.completed", "lesson.progress_set")
        and (d := json.loads(a.data)).get("completed", a.kind == "lesson.completed")
    }
    held = set()
    for user in {a.user_id or "" for a in actions}:
        for one in catalog.values():
            done = [lesson for lesson in one.lessons if (user, lesson) in ever]
            if done and (one.certificate == "lesson_completed" or len(done) == len(one.lessons)):
                held.add((user, one.course_id))
    return held


def _told(actions: Iterable[Action], catalog: Mapping[str, Course]) -> dict[Key, tuple[dict[str, Any] | None, str]]:
    """(user, lesson) -> its row, None when deleted, and its course."""
    grouped: dict[Key, list[tuple[Action, dict[str, Any]]]] = {}
    for action in actions:
        data = json.loads(action.data)
        if "lessonId" in data:
            grouped.setdefault((action.user_id or "", data["lessonId"]), []).append((action, data))
    return {key: _row(key, own, catalog) for key, own in grouped.items()}


def _row(
    key: Key, own: list[tuple[Action, dict[str, Any]]], catalog: Mapping[str, Course]
) -> tuple[dict[str, Any] | None, str]:
    homes = {lesson: one.course_id for one in catalog.values() for lesson in one.lessons}
    claimed = max(((a.at, d["courseId"]) for a, d in own if "courseId" in d), default=(None, ""))[1]
    home = homes.get(key[1], claimed)
    deleted = max((a.at for a, _ in own if a.kind == "lesson.progress_deleted"), default=None)
    touched = max((a.at for a, _ in own if a.kind != "lesson.progress_deleted"), default=None)
    if touched is None or (deleted is not None and deleted >= touched):
        return None, home
    marks = [(a.at, a.kind == "lesson.completed") for a, _ in own if a.kind in ("lesson.completed", "lesson.reopened")]
    marks += [(a.at, d["completed"]) for a, d in own if "completed" in d]
    watched = sum(d["seconds"] for _, d in own if "seconds" in d)
    return {
        "id": lessons.row_id(*key),
        "userId": key[0],
        "lessonId": key[1],
        "courseId": home or None,
        "completed": max(marks, default=(None, False))[1],
        "watch_time_seconds": max(watched, *(d.get("watchTimeSeconds", 0) for _, d in own), 0),
        "createdAt": min(a.at for a, _ in own),
        "updatedAt": max(a.at for a, _ in own),
    }, home


def _spans(actions: Iterable[Action], told: Mapping[Key, Any]) -> Iterable[tuple[Key, Any, Any]]:
    for action in actions:
        if "lessonId" in (data := json.loads(action.data)):
            key = (action.user_id or "", data["lessonId"])
            yield key, told[key], action.at


def _completed(actions: Iterable[Action], user: str, taught: Course | None) -> Any:
    assert taught is not None
    firsts: dict[str, Any] = {}
    for action in actions:
        data = json.loads(action.data)
        if (
            action.user_id == user
            and data.get("lessonId") in taught.lessons
            and (action.kind == "lesson.completed" or data.get("completed"))
        ):
            firsts[data["lessonId"]] = min(firsts.get(data["lessonId"], action.at), action.at)
    return max(firsts.values())
