"""What happens in courses: the payloads, and the kinds that carry them."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from jobs.kind import ADMINS, ANYBODY, ID_PATTERN, Id, Kind, Payload, of_user

PersonName = Annotated[str, Meta(min_length=1, max_length=200, pattern=ID_PATTERN)]
Reason = Annotated[str, Meta(min_length=1, max_length=500)]
Seconds = Annotated[int, Meta(ge=0, le=86_400)]
TotalSeconds = Annotated[int, Meta(ge=0, le=100_000_000)]


class LessonWatched(Payload):
    """Somebody watched for `seconds`, which add up."""

    lesson_id: Id
    seconds: Seconds
    course_id: Id | None = None


class LessonProgressSet(Payload):
    """The lesson as the client knows it; `watchTimeSeconds` is the whole time, of which the largest counts."""

    lesson_id: Id
    course_id: Id | None = None
    completed: bool | None = None
    watch_time_seconds: TotalSeconds | None = None


class LessonCompleted(Payload):
    """The lesson is done."""

    lesson_id: Id
    course_id: Id | None = None


class LessonReopened(Payload):
    """The lesson is not done any more."""

    lesson_id: Id
    course_id: Id | None = None


class LessonProgressDeleted(Payload):
    """The progress in a lesson is put away; whatever happens to it later brings it back."""

    lesson_id: Id


class CourseEnrolled(Payload):
    """A user takes a course; `learnerName` is the name on the certificate."""

    course_id: Id
    learner_name: PersonName | None = None


class CourseChanged(Payload):
    """The course is another one than when this user's progress was reckoned."""

    course_id: Id
    version: Annotated[int, Meta(ge=1, le=1 << 53)]


class CertificateRevoked(Payload):
    """The certificate of a course is no longer valid; its page says so, and why."""

    course_id: Id
    reason: Reason


class CertificateReinstated(Payload):
    """The certificate of a course is valid again."""

    course_id: Id


KINDS: Final = (
    Kind("lesson.watched", LessonWatched, of_user, ANYBODY),
    Kind("lesson.progress_set", LessonProgressSet, of_user, ANYBODY),
    Kind("lesson.completed", LessonCompleted, of_user, ANYBODY),
    Kind("lesson.reopened", LessonReopened, of_user, ANYBODY),
    Kind("lesson.progress_deleted", LessonProgressDeleted, of_user, ANYBODY),
    Kind("course.enrolled", CourseEnrolled, of_user, ANYBODY),
    Kind("course.changed", CourseChanged, of_user, ADMINS),
    Kind("certificate.revoked", CertificateRevoked, of_user, ADMINS),
    Kind("certificate.reinstated", CertificateReinstated, of_user, ADMINS),
)
