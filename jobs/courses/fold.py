"""The fold of course actions: pure functions that change the states of one batch and say the outcome of one action."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from jobs.action import Action
from jobs.courses import certificate as certificates
from jobs.courses import course as progress
from jobs.courses import lesson as lessons
from jobs.courses.certificate import Certificate
from jobs.courses.course import NO_COURSE, Standing
from jobs.courses.kinds import (
    CertificateReinstated,
    CertificateRevoked,
    CourseChanged,
    CourseEnrolled,
    LessonCompleted,
    LessonProgressDeleted,
    LessonProgressSet,
    LessonReopened,
    LessonWatched,
)
from jobs.courses.lesson import LessonProgress
from jobs.courses.states import USER, States
from jobs.family import Effect, Outcome

LOOKED_UP: Final = 8
"""Flag: nobody could say anything of the lesson or the course, so that the catalog's `unknown` decides."""
Lesson = LessonWatched | LessonProgressSet | LessonCompleted | LessonReopened


class Refused(Exception):
    """The action cannot be taken: a code, and a message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Deferred(Exception):
    """Whether the action can be taken is to be asked elsewhere first."""


def _lesson(states: States, action: Action, payload: Lesson) -> Outcome:
    user_id = action.subject[USER:]
    home = states.lessons.get(payload.lesson_id)
    if home is None:
        known_course = payload.course_id is None or _is_taught(states, payload.course_id)
        _unknown(states, action, *(("lesson", payload.lesson_id) if known_course else ("course", payload.course_id)))
    elif payload.course_id not in (None, home) and not states.recorded:
        raise Refused("lesson_of_another_course", f"lesson {payload.lesson_id!r} belongs to course {home!r}")
    elif not _is_taught(states, home):
        _unknown(states, action, "course", home)
    row = states.row(user_id, payload.lesson_id, action)
    states.take(row)
    lessons.touch(row, action)
    lessons.claim(row, action.at, payload.course_id)
    _change(row, action, payload)
    standing = states.settle(row)
    _issue(states, standing)
    return _progress(states, row, standing)


def _change(row: LessonProgress, action: Action, payload: Lesson) -> None:
    if isinstance(payload, LessonWatched):
        lessons.watch(row, payload.seconds)
    elif isinstance(payload, LessonProgressSet):
        if payload.watch_time_seconds is not None:
            lessons.set_watched(row, payload.watch_time_seconds)
        if payload.completed is not None:
            lessons.mark(row, action, payload.completed)
    else:
        lessons.mark(row, action, isinstance(payload, LessonCompleted))


def _deleted(states: States, action: Action, payload: LessonProgressDeleted) -> Outcome:
    user_id, lesson_id = action.subject[USER:], payload.lesson_id
    if (user_id, lesson_id) not in states.rows and lesson_id not in states.lessons:
        _unknown(states, action, "lesson", lesson_id)
    row = states.row(user_id, lesson_id, action)
    states.take(row)
    lessons.delete(row, action)
    return _progress(states, row, states.settle(row))


def _enrolled(states: States, action: Action, payload: CourseEnrolled) -> Outcome:
    if not _is_taught(states, payload.course_id):
        _unknown(states, action, "course", payload.course_id)
    user_id = action.subject[USER:]
    standing = states.standing(user_id, payload.course_id, action)
    progress.enrol(standing.enrolment, action.at, payload.learner_name)
    states.changed_standings[user_id, payload.course_id] = standing
    _issue(states, standing)
    _name(states, standing)
    return {"course": _course(standing), "certificate": _serial(states, standing)}


def _changed(states: States, action: Action, payload: CourseChanged) -> Outcome:
    """Lessons go to where the catalog has them, and what was reckoned by the old course is reckoned anew."""
    user_id, touched = action.subject[USER:], set[str]()
    if payload.course_id in states.enrolments[user_id]:
        standing = states.standing(user_id, payload.course_id, action)
        states.changed_standings[user_id, payload.course_id] = standing
        touched.add(payload.course_id)
    for lesson_id in states.strays[user_id]:
        if (row := states.rows.get((user_id, lesson_id))) is not None:
            states.take(row)
            touched.add(states.settle(row).enrolment.course_id)
    for course_id in sorted(touched):
        _issue(states, states.standings[user_id, course_id])
    own = states.certificates[user_id]
    held = {course_id: own[course_id].serial for course_id in sorted(touched) if course_id in own}
    return {"courses": sorted(touched), "certificates": held}


def _ruled(states: States, action: Action, payload: CertificateRevoked | CertificateReinstated) -> Outcome:
    found = states.certificates[action.subject[USER:]].get(payload.course_id)
    if found is None:
        raise Refused("unknown_certificate", f"this user has no certificate of course {payload.course_id!r}")
    reason = payload.reason if isinstance(payload, CertificateRevoked) else None
    if certificates.rule(found, action.at, reason):
        states.changed_certificates[found.user_id, found.course_id] = found
        _tell(states, found, action.kind, f"{action.kind}:{action.id}", action.at, {"reason": reason} if reason else {})
    return {"certificate": certificates.view(found, states.titles.get(found.course_id))}


def _is_taught(states: States, course_id: str) -> bool:
    course = states.courses.get(course_id)
    return course is not None and course.deleted_at is None


def _unknown(states: States, action: Action, thing: str, name: str | None) -> None:
    """Accept in silence, or raise what is to be done instead."""
    if states.looks_up and not action.flags & LOOKED_UP:
        raise Deferred
    if states.unknown == "reject":
        raise Refused(f"unknown_{thing}", f"there is no {thing} {name!r}: add it with PUT /v1/courses")


def _issue(states: States, standing: Standing) -> None:
    """One certificate for a user and a course, ever."""
    enrolment, course = standing.enrolment, standing.course
    own = states.certificates[enrolment.user_id]
    if course is None or enrolment.course_id in own or (at := standing.deserved_at()) is None:
        return
    serial = certificates.serial_of(states.serial_key, enrolment.user_id, enrolment.course_id)
    issued = Certificate(serial, enrolment.user_id, enrolment.course_id, at, learner_name=enrolment.learner_name)
    own[enrolment.course_id] = issued
    states.changed_certificates[enrolment.user_id, enrolment.course_id] = issued
    _tell(states, issued, "certificate.issued", f"certificate.issued:{serial}", at, {})


def _tell(states: States, about: Certificate, kind: str, effect_id: str, at: Any, more: dict[str, Any]) -> None:
    data = {
        "serial": about.serial,
        "userId": about.user_id,
        "courseId": about.course_id,
        "courseTitle": states.titles.get(about.course_id),
        "learnerName": about.learner_name,
        "issuedAt": about.issued_at,
        "url": states.public_url + certificates.path(about.serial),
        **more,
    }
    subject = f"user:{about.user_id}"
    states.emitted.effects.append(Effect(kind, effect_id, subject, at, data, f"certificate:{about.serial}"))


def _name(states: States, standing: Standing) -> None:
    """The certificate bears the newest name."""
    enrolment = standing.enrolment
    held = states.certificates[enrolment.user_id].get(enrolment.course_id)
    if held is not None and held.learner_name != enrolment.learner_name:
        held.learner_name = enrolment.learner_name
        states.changed_certificates[held.user_id, held.course_id] = held


def _progress(states: States, row: LessonProgress, standing: Standing) -> Outcome:
    return {"progress": lessons.view(row), "course": _course(standing), "certificate": _serial(states, standing)}


def _course(standing: Standing) -> dict[str, Any] | None:
    course_id = standing.enrolment.course_id
    if course_id == NO_COURSE:
        return None
    return {"courseId": course_id, **progress.counts(standing.completed, standing.total, standing.watched)}


def _serial(states: States, standing: Standing) -> str | None:
    held = states.certificates[standing.enrolment.user_id].get(standing.enrolment.course_id)
    return None if held is None else held.serial


FOLDS: Final[Mapping[str, Callable[[States, Action, Any], Outcome]]] = {
    "lesson.watched": _lesson,
    "lesson.progress_set": _lesson,
    "lesson.completed": _lesson,
    "lesson.reopened": _lesson,
    "lesson.progress_deleted": _deleted,
    "course.enrolled": _enrolled,
    "course.changed": _changed,
    "certificate.revoked": _ruled,
    "certificate.reinstated": _ruled,
}
