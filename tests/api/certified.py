"""Certificates to show, and what a reader finds in their PDF."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pypdfium2
import zxingcpp

from api.certificates.shown import Certificate
from jobs.courses import certificate as issued
from tests.api.service import Answer, Service

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
URL = "https://learn.example.com/certificates/7K3M-9QXZ-2VBN-4HTC"
ONE = Certificate("7K3M-9QXZ-2VBN-4HTC", "u1", "Łukasz Žižek", "c1", "Pottery for Beginners", AT)
LONG = (
    "An Introduction to the Philosophy and Practice of Distributed Systems: "
    "Consensus, Replication, Clocks, Failures, and What to Say of Them Honestly"
)
REVOKED = replace(ONE, revoked_at=AT + timedelta(days=40), revoked_reason="Issued in error")


async def store(service: Service, **fields: Any) -> Certificate:
    """A certificate as the worker writes it."""
    user, course = f"u-{uuid.uuid4().hex[:8]}", f"c-{uuid.uuid4().hex[:8]}"
    made = replace(ONE, user_id=user, course_id=course, serial=issued.serial_of(b"any", user, course), **fields)
    await service.sql.execute(
        "INSERT INTO courses (course_id, title, certificate, version, updated_at) "
        "VALUES ($1, $2, 'course_completed', 1, now())",
        course,
        made.course_title,
    )
    await service.sql.execute(
        "INSERT INTO certificates (serial, user_id, course_id, issued_at, revoked_at, revoked_reason, learner_name) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7)",
        *(made.serial, user, course, made.issued_at, made.revoked_at, made.revoked_reason, made.learner_name),
    )
    return made


async def see(service: Service, path: str, language: str = "en", **headers: str) -> Answer:
    """As anybody on the web."""
    return await service.get(path, by=None, Accept_Language=language, **headers)


def opened(body: bytes) -> pypdfium2.PdfDocument:
    return pypdfium2.PdfDocument(body)


def text(body: bytes) -> str:
    """All text of a PDF, as one line."""
    return " ".join(opened(body)[0].get_textpage().get_text_range().split())


def scanned(body: bytes) -> list[str]:
    """What a camera finds in the QR codes of the page."""
    picture = opened(body)[0].render(scale=2).to_pil()
    return [found.text for found in zxingcpp.read_barcodes(picture)]
