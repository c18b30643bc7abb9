"""A certificate: one row of `certificates`, its serial, when it is issued, and what may be ruled about it later."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from jobs.courses.lesson import LessonProgress

Rule = Literal["course_completed", "lesson_completed", "none"]
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Certificate(msgspec.Struct):
    """The fields are the columns of the table, in order. Serial, owner, course and issue time never change."""

    serial: str
    user_id: str
    course_id: str
    issued_at: datetime
    revoked_at: datetime | None = None
    revoked_reason: str | None = None
    ruled_at: datetime | None = None
    """`at` of the newest revocation or reinstatement."""
    learner_name: str | None = None

    @property
    def status(self) -> str:
        """valid or revoked."""
        return "valid" if self.revoked_at is None else "revoked"


COLUMNS: Final = Certificate.__struct_fields__


def serial_of(key: bytes, user_id: str, course_id: str) -> str:
    """Sixteen characters of Crockford's base 32 in four groups: 80 bits of an HMAC-SHA-256 of the two ids.

    `key`: of this installation alone, so that who knows the ids does not know the serial.
    """
    number = int.from_bytes(hmac.digest(key, f"{user_id}\0{course_id}".encode(), "sha256")[:10])
    text = "".join(_CROCKFORD[number >> shift & 31] for shift in range(75, -1, -5))
    return "-".join(text[n : n + 4] for n in range(0, 16, 4))


def deserved_at(
    rule: Rule, lessons: frozenset[str], since: datetime, rows: Mapping[str, LessonProgress]
) -> datetime | None:
    """When the rule came to hold, as our clock saw it; None: it does not.

    It asks for lessons that were completed at some time: what is reopened or deleted later takes nothing back, so that
    no order of arrival decides whether there is a certificate. `since`: when the course became what it is.
    """
    arrived = [
        at for lesson in lessons if (row := rows.get(lesson)) and (at := row.first_completion_received_at) is not None
    ]
    if not arrived or rule == "none" or (rule == "course_completed" and len(arrived) < len(lessons)):
        return None
    return max(since, max(arrived) if rule == "course_completed" else min(arrived))


def rule(certificate: Certificate, at: datetime, revoked_reason: str | None) -> bool:
    """Revoke with a reason, or reinstate with None: the newest `at` wins, of one moment the revocation.

    Whether anything changed.
    """
    held = (certificate.revoked_at, certificate.revoked_reason)
    if _key(at, revoked_reason) > _key(certificate.ruled_at, certificate.revoked_reason):
        certificate.ruled_at = at
        certificate.revoked_at, certificate.revoked_reason = (None if revoked_reason is None else at), revoked_reason
    return held != (certificate.revoked_at, certificate.revoked_reason)


def _key(at: datetime | None, reason: str | None) -> tuple[float, bool, str]:
    return (float("-inf") if at is None else at.timestamp(), reason is not None, reason or "")


def path(serial: str) -> str:
    """Where its public page is."""
    return f"/certificates/{serial}"


def addressed(shown: dict[str, Any], base: str) -> dict[str, Any]:
    """What `view` gives, with `base` before its addresses."""
    return shown | {name: base + shown[name] for name in ("url", "pdfUrl")}


def view(certificate: Certificate, title: str | None) -> dict[str, Any]:
    """As `GET /v1/certificates` shows it; addresses are paths."""
    address = path(certificate.serial)
    return {
        "serial": certificate.serial,
        "courseId": certificate.course_id,
        "courseTitle": title,
        "issuedAt": certificate.issued_at,
        "status": certificate.status,
        "url": address,
        "pdfUrl": f"{address}.pdf",
    }
