"""The routes of api/courses/progress.py as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api.operation import BY_HEADER, JSON, LIMITS, WHO, Operation
from api.schemas import COUNT, TEXT, TIME, Json, fields, listed, nullable, path, query

_LESSON: Final[Json] = fields(
    {
        "id": {"type": "string", "format": "uuid"},
        "userId": TEXT,
        "lessonId": TEXT,
        "courseId": nullable(TEXT),
        "completed": {"type": "boolean"},
        "watch_time_seconds": COUNT,
        "createdAt": TIME,
        "updatedAt": TIME,
    }
)
_COURSE: Final[Json] = {
    "courseId": TEXT,
    "total_lessons": nullable(COUNT),
    "completed_lessons": COUNT,
    "progress_percentage": {"type": ["integer", "null"], "minimum": 0, "maximum": 100},
    "total_watch_time": COUNT,
    "enrolledAt": nullable(TIME),
    "lastAt": nullable(TIME),
    "completedAt": nullable(TIME),
}
_PAGES: Final = fields({"totalItems": COUNT, "totalPages": COUNT, "currentPage": {"type": "integer", "minimum": 1}})
_STATISTICS: Final = fields(
    {
        "total_courses_enrolled": COUNT,
        "total_lessons_completed": COUNT,
        "total_watch_time_hours": {"type": "number", "minimum": 0},
        "courses": listed(fields(_COURSE)),
    }
)
_CODES: Final = (
    *(*WHO, "forbidden_subject", "invalid_id", "missing_subject", "invalid_position", "invalid_parameter"),
    *("rate_limited", "log_unavailable", "database_unavailable"),
)
_HEADERS: Final = ("Milepost-Stale", *LIMITS)
_SECONDS: Final = "Watch times are in seconds. "

OPERATIONS: Final = (
    Operation(
        *("GET", "/v1/progress", "listProgress", "The lessons of a user"),
        {
            200: (
                "One page, the newest change first; with an ETag.",
                JSON,
                fields({"items": listed(_LESSON), "pagination": _PAGES}),
            )
        },
        _SECONDS + "Deleted lessons are not shown.",
        codes=_CODES,
        security=BY_HEADER,
        parameters=("ProgressOf", "ProgressCourse", "ProgressLesson", "Completed", "Page", "Limit", "After"),
        headers=_HEADERS,
    ),
    Operation(
        *("GET", "/v1/progress/stats", "readProgressStatistics", "All courses of a user"),
        {200: ("Of somebody who has begun nothing: zeros. With an ETag.", JSON, _STATISTICS)},
        "Hours have two decimals. Lessons whose course nobody knows count in the sums.",
        codes=_CODES,
        security=BY_HEADER,
        parameters=("ProgressOf", "After"),
        headers=_HEADERS,
    ),
    Operation(
        *("GET", "/v1/progress/courses/{courseId}", "readCourseProgress", "A user in a course"),
        {200: ("The course and its lessons; with an ETag.", JSON, fields({**_COURSE, "lessons": listed(_LESSON)}))},
        _SECONDS + "`total_lessons` and `progress_percentage` are null while nobody has described the course; the "
        "percentage is null, too, of a course without lessons.",
        codes=(*_CODES, "not_found"),
        security=BY_HEADER,
        parameters=("CourseId", "ProgressOf", "After"),
        headers=_HEADERS,
    ),
)


_ID: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 128}
PARAMETERS: Final[Json] = {
    "CourseId": path("courseId", _ID, "The id that its service chose."),
    "ProgressOf": query("userId", _ID, "Whose: demanded of a service key, not needed with a user token."),
    "ProgressCourse": query("courseId", _ID, "Lessons of this course."),
    "ProgressLesson": query("lessonId", _ID, "This lesson."),
    "Completed": query("completed", {"type": "boolean"}, "Lessons that are completed, or that are not."),
    "Page": query("page", {"type": "integer", "minimum": 1}, "Counted from 1; at most 100,000 rows lie before it."),
    "Limit": query("limit", {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}, "Rows of a page."),
}
