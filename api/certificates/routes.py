"""Certificates: the page, PDF and JSON that anybody may see who knows a serial, and the list of a user's own."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final, Literal

import msgspec
from aiohttp import hdrs, web

from api import errors, messages, public_url, reads, who
from api.certificates import page as certificate_page
from api.certificates import pdf as certificate_pdf
from api.certificates.shown import Certificate, shown
from api.errors import Problem
from api.state import STATE, State
from db import sql
from db.settings import Settings
from jobs.courses import models as course_models
from jobs.courses.answers import NoAnswer
from jobs.courses.certificate import addressed
from jobs.courses.lookups import Lookups

QUERIES: Final = sql.read("certificates")
DRAWN_AT_ONCE: Final = 2
DRAWN_WAITING: Final = 32
DRAWINGS_KEPT: Final = 64
"""About 150 KB each."""
NAMES_KEPT: Final = 10_000
NAME_SECONDS: Final = 300.0
NO_NAME_SECONDS: Final = 30.0
KEPT_SECONDS: Final = 900.0
"""Nothing that nobody asked for is kept longer, so that who was erased goes from memory, too."""
SWEPT_EVERY: Final = 60.0

_SERIAL: Final = re.compile(r"[0-9A-HJKMNP-TV-Z]{16}", re.ASCII)
_READ_AS: Final = str.maketrans("OIL", "011", "- ")
Drawing = tuple[Certificate, str, str]
Absent = Literal["unknown", "gone"]
_ABSENT: Final[dict[Absent, int]] = {"unknown": 404, "gone": 410}


class Desk:
    """What one API process keeps for showing certificates: drawings, looked-up names."""

    def __init__(self, settings: Settings) -> None:
        self.lookups = Lookups(settings.nats_url, settings.lookup_timeout) if settings.nats_url else None
        self._names: dict[str, tuple[str | None, float]] = {}
        self._drawings: dict[Drawing, tuple[asyncio.Task[bytes], float]] = {}
        self._pens = asyncio.Semaphore(DRAWN_AT_ONCE)
        self._open = 0
        self._sweep()

    async def name(self, certificate: Certificate) -> str | None:
        """The learner's name: the certificate's own, else the user service's, if it says so in time."""
        if certificate.learner_name or self.lookups is None:
            return certificate.learner_name
        name, until = self._names.get(certificate.user_id, (None, 0.0))
        if until > time.monotonic():
            return name
        try:
            found = await self.lookups.user(certificate.user_id)
            name = found.display if found is not None else None
        except NoAnswer:
            pass  # jobs/courses/lookups.py has logged it; a name that was known before is better than none
        if len(self._names) >= NAMES_KEPT:
            self._names.clear()
        self._names[certificate.user_id] = (name, time.monotonic() + (NAME_SECONDS if name else NO_NAME_SECONDS))
        return name

    async def drawn(self, drawing: Drawing) -> bytes:
        """The PDF: 0.1 s of a thread, once for all who want it at the moment. Problem 503 when too many wait."""
        task, _ = self._drawings.pop(drawing, (None, 0.0))
        if task is None:
            if self._open >= DRAWN_AT_ONCE + DRAWN_WAITING:
                raise Problem("busy", "too many certificates are being drawn: try again in a moment")
            self._open += 1
            task = asyncio.create_task(self._draw(drawing), name="certificate")
            task.add_done_callback(self._drew)
        self._drawings[drawing] = task, time.monotonic()  # newest last
        if len(self._drawings) > DRAWINGS_KEPT:
            del self._drawings[next(iter(self._drawings))]
        try:
            return await asyncio.shield(task)
        except Exception:
            self._drawings.pop(drawing, None)
            raise

    def _drew(self, task: asyncio.Task[bytes]) -> None:
        self._open -= 1
        if not task.cancelled():
            task.exception()  # whoever asked may be gone

    async def _draw(self, drawing: Drawing) -> bytes:
        async with self._pens:
            return await asyncio.to_thread(certificate_pdf.render, *drawing)

    def forget(self, serial: str) -> None:
        """What is kept of a certificate that is gone, and of its holder."""
        for drawing in [one for one in self._drawings if one[0].serial == serial]:
            del self._drawings[drawing]
            self._names.pop(drawing[0].user_id, None)

    def expire(self, now: float) -> None:
        """Drop what nobody has asked for lately; `now` as of time.monotonic()."""
        self._drawings = {one: kept for one, kept in self._drawings.items() if kept[1] > now - KEPT_SECONDS}
        self._names = {user: kept for user, kept in self._names.items() if kept[1] > now - KEPT_SECONDS}

    def _sweep(self) -> None:
        self.expire(time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(SWEPT_EVERY, self._sweep)

    async def close(self) -> None:
        """End what is under way."""
        self._timer.cancel()
        for task in (tasks := [task for task, _ in self._drawings.values()]):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.lookups is not None:
            await self.lookups.close()


DESK: Final = web.AppKey("certificates", Desk)


async def lifetime(app: web.Application, settings: Settings) -> AsyncIterator[None]:
    """From the application's start to its end."""
    app[DESK] = Desk(settings)
    yield
    await app[DESK].close()


def serial(text: str) -> str | None:
    """A serial as it is stored, from one as people type it: any case, hyphens or none, O for 0, I and L for 1."""
    if len(text) > 64:
        return None
    plain = text.upper().translate(_READ_AS)
    return "-".join(plain[at : at + 4] for at in range(0, 16, 4)) if _SERIAL.fullmatch(plain) else None


async def page(request: web.Request) -> web.Response:
    """GET /certificates/{serial}: whether it is valid, for people."""
    language = messages.of(request)
    try:
        certificate = await _certificate(request)
    except Exception as error:
        if not errors.is_postgres_away(error):
            raise
        return _without(language, "away", 503)
    if isinstance(certificate, str):
        return _without(language, certificate, _ABSENT[certificate])
    text = certificate_page.of(certificate, _url(request, certificate.serial), language)
    return reads.answer(request, text.encode(), headers=_headers(language), media="text/html; charset=utf-8")


async def pdf(request: web.Request) -> web.Response:
    """GET /certificates/{serial}.pdf: the same to hang on a wall."""
    language = messages.of(request)
    certificate = await _certificate(request)
    if isinstance(certificate, str):
        return _without(language, certificate, _ABSENT[certificate])
    body = await request.app[DESK].drawn((certificate, _url(request, certificate.serial), language))
    name = f'inline; filename="certificate-{certificate.serial}.pdf"'
    headers = {**_headers(language), hdrs.CONTENT_DISPOSITION: name}
    del headers["Content-Security-Policy"]  # browsers show PDFs with scripts and styles of their own
    return reads.answer(request, body, headers=headers, media="application/pdf")


async def data(request: web.Request) -> web.Response:
    """GET /certificates/{serial}.json: the same for programs; whose it is it says by name only."""
    certificate = await _certificate(request)
    if certificate == "gone":
        raise Problem("certificate_erased", "its holder was erased, and with them the certificate")
    if isinstance(certificate, str):
        raise Problem("not_found", "there is no such certificate")
    url = _url(request, certificate.serial)
    body = {
        "serial": certificate.serial,
        "status": certificate.status,
        "courseId": certificate.course_id,
        "courseTitle": certificate.course_title,
        "learnerName": shown(certificate.learner_name) or None,
        "issuedAt": certificate.issued_at,
        "revokedAt": certificate.revoked_at,
        "revokedReason": certificate.revoked_reason,
        "url": url,
        "pdfUrl": f"{url}.pdf",
    }
    return reads.answer(request, msgspec.json.encode(body), headers={"X-Robots-Tag": "noindex"})


async def own(request: web.Request) -> web.Response:
    """GET /v1/certificates: all certificates of a user, the oldest first."""
    state, sender = await who.reader(request)
    user_id = who.user(request, sender)
    limited = await state.rates.check(sender, "read", user_id)
    reached = await reads.after(request, state)
    body = await _model(state, user_id)
    return reads.answer(request, _absolute(body, public_url.base(request)), reached, limited)


async def _model(state: State, user_id: str) -> bytes:
    name = course_models.certificates_name(user_id)
    found = await reads.model(
        state, f"user:{user_id}", name, lambda conn: course_models.load_certificates(conn, user_id)
    )
    return found or course_models.EMPTY_CERTIFICATES


def _absolute(body: bytes, base: str) -> bytes:
    """The model knows paths only: one API may have several names."""
    held: dict[str, list[dict[str, Any]]] = msgspec.json.decode(body)
    return msgspec.json.encode({"certificates": [addressed(one, base) for one in held["certificates"]]})


async def _certificate(request: web.Request) -> Certificate | Absent:
    """By the serial of the path; what cannot be one costs no query."""
    wanted, pool = serial(request.match_info["serial"]), request.app[STATE].pool
    if wanted is None:
        return "unknown"
    row = await pool.fetchrow(QUERIES["find_certificate"], wanted)
    if row is None:
        if not await pool.fetchval(QUERIES["certificate_was_erased"], wanted):
            return "unknown"
        request.app[DESK].forget(wanted)
        return "gone"
    found = Certificate(**row)
    return replace(found, learner_name=await request.app[DESK].name(found))


def _url(request: web.Request, known: str) -> str:
    return f"{public_url.base(request)}/certificates/{known}"


def _headers(language: str) -> dict[str, str]:
    return {**certificate_page.HEADERS, hdrs.CONTENT_LANGUAGE: language, hdrs.VARY: "Accept-Language"}


def _without(language: str, reason: str, status: int) -> web.Response:
    headers = _headers(language) | {hdrs.CACHE_CONTROL: "no-store"}
    if status == 503:
        headers[hdrs.RETRY_AFTER] = str(errors.RETRY_SECONDS)
    text = certificate_page.without(language, reason)
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=headers)


ROUTES: Final = (
    web.get("/v1/certificates", own),
    web.get("/certificates/{serial}.pdf", pdf),
    web.get("/certificates/{serial}.json", data),
    web.get("/certificates/{serial}", page),
)
