"""What happens in courses: the payloads, and the kinds that carry them."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from jobs.action import Draft, Kind, Role

ID_PATTERN: Final = r"^[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+$(?!\n)"
Id = Annotated[str, Meta(min_length=1, max_length=128, pattern=ID_PATTERN)]
PersonName = Annotated[str, Meta(min_length=1, max_length=200, pattern=ID_PATTERN)]
Reason = Annotated[str, Meta(min_length=1, max_length=500)]
Seconds = Annotated[int, Meta(ge=0, le=86_400)]
TotalSeconds = Annotated[int, Meta(ge=0, le=100_000_000)]


class _Payload(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    pass


class LessonWatched(_Payload):
    """Somebody watched for `seconds`, which add up."""

    lesson_id: Id
    seconds: Seconds
    course_id: Id | None = None


class LessonProgressSet(_Payload):
    """The lesson as the client knows it; `watchTimeSeconds` is the whole time, of which the largest counts."""

    lesson_id: Id
    course_id: Id | None = None
    completed: bool | None = None
    watch_time_seconds: TotalSeconds | None = None


class LessonCompleted(_Payload):
    """The lesson is done."""

    lesson_id: Id
    course_id: Id | None = None


class LessonReopened(_Payload):
    """The lesson is not done any more."""

    lesson_id: Id
    course_id: Id | None = None


class LessonProgressDeleted(_Payload):
    """The progress in a lesson is put away; whatever happens to it later brings it back."""

    lesson_id: Id


class CourseEnrolled(_Payload):
    """A user takes a course; `learnerName` is the name on the certificate."""

    course_id: Id
    learner_name: PersonName | None = None


class CourseChanged(_Payload):
    """The course is another one than when this user's progress was reckoned."""

    course_id: Id
    version: Annotated[int, Meta(ge=1, le=1 << 53)]


class CertificateRevoked(_Payload):
    """The certificate of a course is no longer valid; its page says so, and why."""

    course_id: Id
    reason: Reason


class CertificateReinstated(_Payload):
    """The certificate of a course is valid again."""

    course_id: Id


def user_subject(draft: Draft) -> str | None:
    """The user."""
    return None if draft.user_id is None else "user:" + draft.user_id


_ALL: Final[frozenset[Role]] = frozenset(("user", "service", "admin"))
_ADMIN: Final[frozenset[Role]] = frozenset(("admin",))

KINDS: Final = (
    Kind("lesson.watched", LessonWatched, user_subject, _ALL),
    Kind("lesson.progress_set", LessonProgressSet, user_subject, _ALL),
    Kind("lesson.completed", LessonCompleted, user_subject, _ALL),
    Kind("lesson.reopened", LessonReopened, user_subject, _ALL),
    Kind("lesson.progress_deleted", LessonProgressDeleted, user_subject, _ALL),
    Kind("course.enrolled", CourseEnrolled, user_subject, _ALL),
    Kind("course.changed", CourseChanged, user_subject, _ADMIN),
    Kind("certificate.revoked", CertificateRevoked, user_subject, _ADMIN),
    Kind("certificate.reinstated", CertificateReinstated, user_subject, _ADMIN),
)
