"""The routes of api/courses/routes.py as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api.courses.routes import Courses, Revocation
from api.operation import BODY, BY_HEADER, JSON, LOG, WHO, Operation
from api.schemas import TEXT, TIME, Json, fields, later, nullable
from jobs.courses.catalog import CourseBody, Stored

_VERSION: Final[Json] = {"type": "integer", "minimum": 1}


_STORED: Final = fields(
    {
        "courses": {
            "type": "array",
            "items": fields({"id": TEXT, "version": _VERSION, "updatedAt": TIME}),
        }
    }
)
_CERTIFICATE: Final = fields(
    {
        "serial": TEXT,
        "courseId": TEXT,
        "courseTitle": nullable(TEXT),
        "issuedAt": TIME,
        "status": {"enum": ["valid", "revoked"]},
        "url": TEXT,
        "pdfUrl": TEXT,
    }
)
_LATER: Final = later()
_PUT: Final = (*WHO, *BODY, "lesson_of_another_course", "database_unavailable")
_RULE: Final = (
    *(*WHO, *LOG, "invalid_id", "invalid_parameter", "not_found", "unknown_certificate", "id_reused"),
    "database_unavailable",
)
_LESSONS: Final = [{"id": "bowline", "title": "The bowline", "durationSeconds": 420}]
_KNOTS: Final = {"title": "Knots", "lessons": _LESSONS, "certificate": "course_completed"}

OPERATIONS: Final = (
    Operation(
        *("PUT", "/v1/courses/{courseId}", "putCourse", "Describe a course"),
        {200: ("As it is kept; `version` tells whether anything changed.", JSON, "Stored")},
        "The whole course: up to 2,000 lessons in their order. A lesson that is left out counts no longer. A lesson "
        "belongs to one course. When something changes, the progress of everybody in the course is reckoned anew.",
        codes=(*_PUT, "invalid_parameter"),
        security=BY_HEADER,
        parameters=("CourseId", "ContentEncoding"),
        bodies=("CourseBody",),
        examples={"knots": _KNOTS},
    ),
    Operation(
        *("PUT", "/v1/courses", "putCourses", "Describe many courses"),
        {200: ("All are kept; or none, with the path of what is wrong.", JSON, _STORED)},
        "Up to 500 courses and 20,000 lessons.",
        codes=_PUT,
        security=BY_HEADER,
        parameters=("ContentEncoding",),
        bodies=("Courses",),
        examples={"one": {"courses": [{"id": "knots", **_KNOTS}]}},
    ),
    Operation(
        *("GET", "/v1/courses/{courseId}", "readCourse", "A course as it was described"),
        {200: ("The course; with an ETag.", JSON, "Stored")},
        codes=(*WHO, "invalid_parameter", "not_found", "database_unavailable"),
        security=BY_HEADER,
        parameters=("CourseId",),
    ),
    Operation(
        *("DELETE", "/v1/courses/{courseId}", "deleteCourse", "Forget a course"),
        {200: ("It is taught no longer.", JSON, fields({"deleted": TEXT}))},
        "Progress and certificates stay; its lessons are free for other courses.",
        codes=(*WHO, "invalid_parameter", "not_found", "database_unavailable"),
        security=BY_HEADER,
        parameters=("CourseId",),
    ),
    Operation(
        *("POST", "/v1/admin/certificates/{serial}/revoke", "revokeCertificate", "Revoke a certificate"),
        {200: ("It says so from here on.", JSON, _CERTIFICATE), 202: _LATER},
        "Its page stays, and shows the reason.",
        codes=(*_RULE, *BODY),
        security=BY_HEADER,
        parameters=("Serial", "Wait", "Prefer", "IdempotencyKey"),
        bodies=("Revocation",),
        examples={"fraud": {"reason": "Somebody else sat the exam."}},
    ),
    Operation(
        *("POST", "/v1/admin/certificates/{serial}/reinstate", "reinstateCertificate", "Reinstate a certificate"),
        {200: ("Valid again, with the serial and the day that it had.", JSON, _CERTIFICATE), 202: _LATER},
        codes=_RULE,
        security=BY_HEADER,
        parameters=("Serial", "Wait", "Prefer", "IdempotencyKey"),
    ),
)
TYPES: Final = (CourseBody, Courses, Revocation, Stored)
