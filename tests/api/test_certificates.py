"""Certificates as people see them: page, PDF and JSON of one, the list of a user, in their language."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
import nats
import pypdfium2
import pytest
import zxingcpp
from hypothesis import given
from hypothesis import settings as fuzz
from hypothesis import strategies as st
from nats.aio.msg import Msg

from api.certificates import fonts, pdf
from api.certificates import page as certificate_page
from api.certificates import routes as certificates
from api.certificates.routes import DESK, DRAWN_AT_ONCE, DRAWN_WAITING, Desk
from api.certificates.shown import MOST_CHARACTERS, Certificate, shown
from api.errors import Problem
from db.settings import Settings
from jobs.courses import certificate as issued
from jobs.privacy.erasure import Erasure
from tests import nats_server
from tests.api.service import Answer, Service, running

pytestmark = pytest.mark.usefixtures("quiet")

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


# The PDF


def opened(body: bytes) -> pypdfium2.PdfDocument:
    return pypdfium2.PdfDocument(body)


def text(body: bytes) -> str:
    """All text of a PDF, as one line."""
    return " ".join(opened(body)[0].get_textpage().get_text_range().split())


def scanned(body: bytes) -> list[str]:
    """What a camera finds in the QR codes of the page."""
    picture = opened(body)[0].render(scale=2).to_pil()
    return [found.text for found in zxingcpp.read_barcodes(picture)]


def test_the_pdf_says_what_it_is_for() -> None:
    body = pdf.render(ONE, URL, "en")
    written = text(body)
    for part in ("Certificate of Completion", ONE.learner_name, ONE.course_title, "November 21, 2026", ONE.serial, URL):
        assert str(part) in written
    assert "evoked" not in written.lower()
    document = opened(body)
    assert len(document) == 1
    assert [round(side * 25.4 / 72) for side in document[0].get_size()] == [297, 210]
    assert document.get_metadata_dict()["Title"] == "Certificate of Completion · Pottery for Beginners"


def test_the_qr_code_leads_to_the_page() -> None:
    assert scanned(pdf.render(ONE, URL, "en")) == [URL]
    long = f"https://{'very-' * 20}long.example.com:8443/milepost/certificates/7K3M-9QXZ-2VBN-4HTC"
    assert scanned(pdf.render(REVOKED, long, "de")) == [long]


def test_a_revoked_one_says_so() -> None:
    written = text(pdf.render(REVOKED, URL, "en"))
    assert "REVOKED" in written
    assert "Revoked on December 31, 2026 · Reason: Issued in error" in written
    assert "WIDERRUFEN" in text(pdf.render(replace(REVOKED, revoked_reason=None), URL, "de"))


def test_without_a_name_the_holder_is_meant() -> None:
    written = text(pdf.render(replace(ONE, learner_name=None), URL, "en"))
    assert "The holder of this certificate has successfully completed the course Pottery for Beginners" in written


def test_equal_input_gives_equal_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = pdf.render(REVOKED, URL, "es")
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert pdf.render(replace(REVOKED), URL, "es") == first
    assert opened(first).get_metadata_dict()["CreationDate"].startswith("D:20261121093000")
    assert pdf.render(replace(REVOKED, course_title="Pottery"), URL, "es") != first


@pytest.mark.parametrize(
    "name",
    [
        "Łukasz Žižek",
        "Søren Kierkegaard",
        "Nguyễn Thị Minh Khai",
        "Ελένη Παπαδοπούλου",
        "Володимир Зеленко",
        "王小明",
        "さくら カタカナ",
        "김민준",
        "Անահիտ",
        "ნინო",
        "สมชาย",
    ],
)
def test_letters_of_many_scripts_are_there(name: str) -> None:
    assert fonts.printable(name) == name
    assert name in text(pdf.render(replace(ONE, learner_name=name), URL, "en"))


@pytest.mark.parametrize("name", ["محمد علی", "שרה כהן", "प्रिया शर्मा", "தமிழ்", "অনিতা"])
def test_scripts_that_are_shaped_have_all_their_letters(name: str) -> None:
    """Their text does not come back letter by letter: what is drawn has another order or form."""
    assert fonts.printable(name) == name
    with_name, without = (pdf.render(replace(ONE, learner_name=one), URL, "en") for one in (name, "x"))
    assert len(with_name) > len(without) + 1000
    assert "\ufffd" not in text(with_name)


def test_what_no_font_has_is_left_out() -> None:
    assert fonts.printable("Ada 🎓 Lovelace") == "Ada Lovelace"
    assert "Ada Lovelace" in text(pdf.render(replace(ONE, learner_name="Ada 🎓 Lovelace"), URL, "en"))
    assert "The holder" in text(pdf.render(replace(ONE, learner_name="🎓"), URL, "en"))


@pytest.mark.parametrize(
    "title",
    [
        LONG[:120],
        "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 2,
        "W" * 300,
        "陶芸" * 150,
    ],
    ids=lambda title: f"{title[:12]} ({len(title)})",
)
def test_long_titles_stay_on_the_page(title: str) -> None:
    body = pdf.render(replace(ONE, course_title=title, learner_name=title), URL, "en")
    page = opened(body)[0]
    width, height = page.get_size()
    words = page.get_textpage()
    boxes = [words.get_charbox(at) for at in range(words.count_chars())]
    frame = 15.5 * 72 / 25.4
    assert all(frame < left and right < width - frame for left, _, right, _ in boxes)
    assert all(frame < bottom and top < height - frame for _, bottom, _, top in boxes)
    between = [words.search(mark).get_next()[0] for mark in ("This is to certify", "has successfully", "Issued on")]
    lines = [boxes[at] for at in between]
    name, course = boxes[between[0] + 30 : between[1]], boxes[between[1] + 40 : between[2]]
    assert max(top for *_, top in name) < lines[0][1]
    assert max(top for *_, top in course) < lines[1][1] < lines[1][3] < min(bottom for _, bottom, *_ in name if bottom)
    assert min(bottom for _, bottom, *_ in course if bottom) > lines[2][3]
    assert scanned(body) == [URL]
    if len(title) <= 120:
        assert title in text(body)


HOSTILE = [
    "<script>alert(1)</script>",
    ") Tj ET Q endstream endobj %PDF",
    "**bold** __under__ \\n \\",
    "a\u202egnp.exe\u2066",
    "\x00\x1b[31m\r\n\u2028",
    "Z\u0351\u0343\u0346" * 80,
    "\ud800",
    "\ue000\U000f0000",
    "{url} {0} %s",
]


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
def test_hostile_text_stays_text(value: str) -> None:
    certificate = replace(REVOKED, learner_name=value, course_title=value, revoked_reason=value)
    body = pdf.render(certificate, URL, "en")
    assert scanned(body) == [URL]
    assert f"Verify this certificate at {URL}" in text(body)
    html = certificate_page.of(certificate, URL, "en")
    html.encode()
    assert "<script" not in html
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", html)


@fuzz(max_examples=25, deadline=None)
@given(st.text(max_size=60), st.text(max_size=200))
def test_any_text_can_be_drawn(name: str, title: str) -> None:
    certificate = replace(REVOKED, learner_name=name, course_title=title, revoked_reason=title)
    assert len(opened(pdf.render(certificate, URL, "en"))) == 1
    certificate_page.of(certificate, URL, "en").encode()


@given(st.text(max_size=2000))
def test_what_is_shown_is_one_clean_line(value: str) -> None:
    line = shown(value)
    assert len(line) <= MOST_CHARACTERS
    assert line == " ".join(line.split())
    line.encode()
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", line)


def test_shown_keeps_names_whole() -> None:
    assert shown("  Zoë\n O’Neill-Núñez ") == "Zoë O’Neill-Núñez"
    assert shown("می\u200cخواهم") == "می\u200cخواهم"
    assert shown("Nguyê\u0303n") == "Nguyễn"
    assert shown("Z" + "\u0351" * 50) == "Z" + "\u0351" * 4
    assert shown(None) == ""
    assert shown("x" * 400) == "x" * (MOST_CHARACTERS - 1) + "…"


# The page


class Page(HTMLParser):
    """What a reader of the page finds."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.tags if name == tag]


async def test_the_page_of_a_valid_one(service: Service) -> None:
    made = await store(service, course_title="Töpfern & Brennen <1>")
    answer = await see(service, f"/certificates/{made.serial}")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    page = Page(answer.body.decode())
    url = f"{str(service.client.make_url('')).rstrip('/')}/certificates/{made.serial}"
    for part in ("Valid certificate", "Töpfern & Brennen <1>", "Łukasz Žižek", "November 21, 2026", made.serial):
        assert part in page.words
    assert [link["href"] for link in page.all("a")] == [f"{url}.pdf"]
    assert page.all("html") == [{"lang": "en", "dir": "ltr"}]
    assert {"name": "robots", "content": "noindex"} in page.all("meta")
    assert made.user_id not in answer.body.decode()


async def test_the_page_brings_nothing_along_and_runs_nothing(service: Service) -> None:
    made = await store(service)
    for path in (f"/certificates/{made.serial}", "/certificates/0000-0000-0000-0000"):
        answer = await see(service, path)
        policy = answer.headers["Content-Security-Policy"]
        assert re.fullmatch(
            r"default-src 'none'; style-src 'sha256-[\w+/=]{44}'; base-uri 'none'; form-action 'none'; "
            r"frame-ancestors 'none'",
            policy,
        )
        assert answer.headers["X-Robots-Tag"] == "noindex"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        html = answer.body.decode()
        assert not re.search(r"<script|\sstyle=|\son\w+=|<img|<iframe|@import|url\(", html)
        own = str(service.client.make_url("/"))
        assert {one for one in re.findall(r"https?://[^\s\"'<]+", html) if not one.startswith(own)} == set()


async def test_a_revoked_certificate_tells_when_and_why_and_a_reinstated_one_nothing(service: Service) -> None:
    made = await store(service, revoked_at=AT + timedelta(days=40), revoked_reason="A <b>mistake</b>")
    path = f"/certificates/{made.serial}"
    page = Page((await see(service, path)).body.decode())
    for part in ("Revoked certificate", "December 31, 2026", "A <b>mistake</b>"):
        assert part in page.words
    assert (await see(service, f"{path}.json")).body["status"] == "revoked"
    drawn = await see(service, f"{path}.pdf")
    assert "REVOKED" in text(drawn.body)
    await service.sql.execute(
        "UPDATE certificates SET revoked_at = NULL, revoked_reason = NULL WHERE serial = $1", made.serial
    )
    again = await see(service, path, If_None_Match=drawn.headers["ETag"])
    assert again.status == 200
    assert "Valid certificate" in Page(again.body.decode()).words
    assert "REVOKED" not in text((await see(service, f"{path}.pdf")).body)


@pytest.mark.parametrize(
    ("header", "language", "words"),
    [
        ("de-CH,de;q=0.9,en;q=0.8", "de", ("Gültiges Zertifikat", "21. November 2026", "Als PDF herunterladen")),
        ("es", "es", ("Certificado válido", "21 de noviembre de 2026", "Descargar en PDF")),
        ("tlh", "en", ("Valid certificate", "November 21, 2026", "Download as PDF")),
    ],
)
async def test_in_the_language_of_who_looks(
    service: Service, header: str, language: str, words: tuple[str, ...]
) -> None:
    made = await store(service)
    answer = await see(service, f"/certificates/{made.serial}", header)
    assert (answer.headers["Content-Language"], answer.headers["Vary"]) == (language, "Accept-Language")
    page = Page(answer.body.decode())
    assert page.all("html")[0]["lang"] == language
    assert set(words) <= set(page.words)
    assert words[1] in text((await see(service, f"/certificates/{made.serial}.pdf", header)).body)


async def test_an_unknown_serial_is_404_in_every_form(service: Service) -> None:
    for path in ("/certificates/0000-0000-0000-0000", "/certificates/0000-0000-0000-0000.pdf"):
        answer = await see(service, path, "de")
        assert (answer.status, answer.headers["Cache-Control"]) == (404, "no-store")
        assert "Unbekanntes Zertifikat" in Page(answer.body.decode()).words
    answer = await see(service, "/certificates/0000-0000-0000-0000.json")
    assert (answer.status, answer.error["code"]) == (404, "not_found")


async def test_a_certificate_of_who_was_erased_is_gone_in_every_form(service: Service) -> None:
    made = await store(service, learner_name="Ada Q. Unmistakable")
    async with service.sql.acquire() as conn:
        await Erasure(conn, service.redis, made.user_id, 7).run()
    for path in (f"/certificates/{made.serial}", f"/certificates/{made.serial.lower()}.pdf"):
        answer = await see(service, path, "de")
        assert (answer.status, answer.headers["Cache-Control"]) == (410, "no-store")
        assert "Nicht mehr vorhanden" in Page(answer.body.decode()).words
        assert "Unmistakable" not in answer.body.decode()
    answer = await see(service, f"/certificates/{made.serial}.json")
    assert (answer.status, answer.error["code"]) == (410, "certificate_erased")
    rows = await service.sql.fetch("SELECT t::text FROM erased_certificates t")
    assert rows
    assert not any(made.serial in row[0] or made.user_id in row[0] for row in rows)


@pytest.mark.parametrize(
    "wanted",
    [
        "%00", "x" * 7000, "%ED%A0%80", "%FF%FE", "' OR 1=1 --", "..%2f..%2fetc%2fpasswd", "%E2%80%AE", "{}", "%25s",
        "7K3M-9QXZ-2VBN-4HTU", "7K3M-9QXZ-2VBN-4HT", "7K3M-9QXZ-2VBN-4HTCC", ".pdf", "٧K3M-9QXZ-2VBN-4HTC", "ﬀ",
        "ß" * 16, "İ" * 16,
    ],
    ids=lambda wanted: ascii(wanted[:24]),
)  # fmt: skip
async def test_a_hostile_serial_is_an_unknown_one(service: Service, wanted: str) -> None:
    path = wanted if "%" in wanted else quote(wanted)
    for form in ("", ".pdf", ".json"):
        answer = await see(service, f"/certificates/{path}{form}")
        assert answer.status == 404, form


async def test_a_serial_is_found_as_people_type_it(service: Service) -> None:
    made = await store(service)
    plain = made.serial.replace("-", "")
    typed = {made.serial.lower(), plain, plain.lower(), " ".join(made.serial), f" {made.serial} "}
    typed |= {made.serial.replace("0", "o").replace("1", "l"), made.serial.replace("0", "O").replace("1", "I")}
    for one in typed:
        answer = await see(service, f"/certificates/{quote(one)}.json")
        assert (answer.status, answer.body.get("serial")) == (200, made.serial), one


def test_letters_that_look_like_digits_are_digits() -> None:
    assert certificates.serial("oOiI lL01-2345-6789") == "0011-1101-2345-6789"


@given(st.text(max_size=80))
def test_what_is_taken_for_a_serial_has_its_form(value: str) -> None:
    found = certificates.serial(value)
    assert found is None or re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}", found)


async def test_a_lookup_uses_the_index(service: Service) -> None:
    async with service.sql.acquire() as conn, conn.transaction():
        await conn.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(
            row[0] for row in await conn.fetch(f"EXPLAIN {certificates.QUERIES['find_certificate']}", ONE.serial)
        )
    assert "certificates_serial" in plan


# JSON, caches, addresses


async def test_the_json(service: Service) -> None:
    made = await store(service)
    answer = await see(service, f"/certificates/{made.serial}.json")
    url = f"{str(service.client.make_url('')).rstrip('/')}/certificates/{made.serial}"
    assert answer.body == {
        "serial": made.serial,
        "status": "valid",
        "courseId": made.course_id,
        "courseTitle": "Pottery for Beginners",
        "learnerName": "Łukasz Žižek",
        "issuedAt": "2026-11-21T09:30:00Z",
        "revokedAt": None,
        "revokedReason": None,
        "url": url,
        "pdfUrl": f"{url}.pdf",
    }


@pytest.mark.parametrize("form", ["", ".pdf", ".json"])
async def test_who_has_it_already_gets_304_and_nothing_is_kept_unasked(service: Service, form: str) -> None:
    made = await store(service)
    path = f"/certificates/{made.serial}{form}"
    first = await see(service, path)
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = await see(service, path, If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    await service.sql.execute("UPDATE certificates SET revoked_at = now() WHERE serial = $1", made.serial)
    assert (await see(service, path, If_None_Match=first.headers["ETag"])).status == 200


async def test_the_pdf_over_http(service: Service) -> None:
    made = await store(service)
    answer = await see(service, f"/certificates/{made.serial.lower()}.pdf")
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["Content-Disposition"] == f'inline; filename="certificate-{made.serial}.pdf"'
    found = scanned(answer.body)
    assert found == [f"{str(service.client.make_url('')).rstrip('/')}/certificates/{made.serial}"]
    page = await see(service, urlsplit(found[0]).path)
    assert "Valid certificate" in Page(page.body.decode()).words


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        ({"Host": "learn.example.com"}, "http://learn.example.com"),
        ({"Host": "learn.example.com", "X-Forwarded-Proto": "https"}, "https://learn.example.com"),
        ({"Host": "learn.example.com:8443", "X-Forwarded-Proto": "https, http"}, "https://learn.example.com:8443"),
        ({"Host": "[::1]:8080"}, "http://[::1]:8080"),
        ({"Host": "x", "X-Forwarded-Proto": "javascript"}, "http://x"),
        ({"Host": 'evil.com/"><script>'}, "http://127.0.0.1:0"),
        ({"Host": "user:pw@evil.com"}, "http://127.0.0.1:0"),
        ({"Host": "evil.com?x="}, "http://127.0.0.1:0"),
        ({"Host": "a b"}, "http://127.0.0.1:0"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_the_address_is_the_requests(service: Service, headers: dict[str, str], base: str) -> None:
    made = await store(service)
    async with service.client.get(f"/certificates/{made.serial}.json", headers=headers) as answer:
        assert (await answer.json())["url"] == f"{base}/certificates/{made.serial}"


async def test_the_address_of_the_setting_wins(settings: Settings) -> None:
    own = settings.model_copy(update={"public_url": "https://learn.example.com/milepost"})
    async with running(own) as service:
        made = await store(service)
        answer = await see(service, f"/certificates/{made.serial}.json", Host="evil.com")
        assert answer.body["pdfUrl"] == f"https://learn.example.com/milepost/certificates/{made.serial}.pdf"


@pytest.mark.parametrize(
    "value", ["learn.example.com", "ftp://x", "https://", "https://x y", "https://x?a", 'https://x"']
)
def test_a_wrong_public_address_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="public address"):
        Settings(_env_file=None, public_url=value)
    assert Settings(_env_file=None, public_url="https://x.example/").public_url == "https://x.example"


async def test_without_postgres_the_page_says_so_to_people_and_programs(settings: Settings) -> None:
    async with running(settings) as service:
        made = await store(service)
        service.state.pool.terminate()
        page = await see(service, f"/certificates/{made.serial}", "de")
        assert (page.status, page.headers["Retry-After"]) == (503, "2")
        assert "Zurzeit nicht verfügbar" in Page(page.body.decode()).words
        answer = await see(service, f"/certificates/{made.serial}.json")
        assert (answer.status, answer.error["code"]) == (503, "database_unavailable")


# Drawing


@pytest.fixture
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    made = Desk(settings)
    yield made
    await made.close()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The serials that are drawn, instead of drawing them."""
    drawn: list[str] = []

    def render(certificate: Certificate, url: str, language: str) -> bytes:
        drawn.append(certificate.serial)
        if certificate.serial == "broken":
            raise ValueError("broken")
        return certificate.serial.encode()

    monkeypatch.setattr(pdf, "render", render)
    return drawn


async def test_one_drawing_is_drawn_once(desk: Desk, counted: list[str]) -> None:
    many = await asyncio.gather(*(desk.drawn((replace(ONE), URL, "en")) for _ in range(20)))
    assert set(many) == {ONE.serial.encode()}
    assert counted == [ONE.serial]
    await desk.drawn((REVOKED, URL, "en"))
    assert len(counted) == 2


async def test_the_drawings_that_are_kept_are_the_last_asked_for(desk: Desk, counted: list[str]) -> None:
    for number in range(certificates.DRAWINGS_KEPT + 10):
        await desk.drawn((replace(ONE, serial=str(number)), URL, "en"))
        await desk.drawn((replace(ONE, serial="0"), URL, "en"))
    assert counted.count("0") == 1
    assert len(desk._drawings) == certificates.DRAWINGS_KEPT
    await desk.drawn((replace(ONE, serial="1"), URL, "en"))
    assert counted.count("1") == 2


async def test_a_failed_drawing_is_tried_again(desk: Desk, counted: list[str]) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            await desk.drawn((replace(ONE, serial="broken"), URL, "en"))
    assert counted == ["broken", "broken"]
    assert desk._drawings == {}


async def test_a_crowd_is_told_to_come_back(desk: Desk, counted: list[str]) -> None:
    most = DRAWN_AT_ONCE + DRAWN_WAITING
    wanted = [(replace(ONE, serial=str(number)), URL, "en") for number in range(most + 5)]
    found = await asyncio.gather(*map(desk.drawn, wanted), return_exceptions=True)
    refused = [one for one in found if isinstance(one, Problem)]
    assert [(one.code, one.status) for one in refused] == [("busy", 503)] * 5
    assert len(counted) == most
    assert await desk.drawn(wanted[-1]) == str(most + 4).encode()


# The name of a learner who has none


async def test_a_missing_name_is_asked_for_once_and_never_waited_for_long(settings: Settings) -> None:
    async with nats_server.running() as url:
        own = settings.model_copy(update={"nats_url": url, "lookup_timeout": 0.3})
        async with running(own) as service:
            asked: list[str] = []
            users = await nats.connect(url)

            async def answer(message: Msg) -> None:
                user = msgspec.json.decode(message.data)["data"]["id"]
                asked.append(user)
                if user == named.user_id:
                    await message.respond(msgspec.json.encode({"id": user, "firstName": "Ada", "lastName": "Lovelace"}))
                elif user == unknown.user_id:
                    await message.respond(b"null")

            named, unknown, silent = [await store(service, learner_name=None) for _ in range(3)]
            own_name = await store(service)
            await users.subscribe("user.get_by_id", cb=answer)
            await users.flush()
            for _ in range(2):
                answered = await see(service, f"/certificates/{named.serial}.json")
                assert answered.body["learnerName"] == "Ada Lovelace"
                for other in (unknown, silent):
                    started = time.monotonic()
                    answered = await see(service, f"/certificates/{other.serial}.json")
                    assert (answered.status, answered.body["learnerName"]) == (200, None)
                    assert time.monotonic() - started < 15
                await see(service, f"/certificates/{own_name.serial}")
            assert asked == [named.user_id, unknown.user_id, silent.user_id]
            assert "Ada Lovelace" in text((await see(service, f"/certificates/{named.serial}.pdf")).body)
            await users.close()


async def test_without_nats_nobody_is_asked(service: Service) -> None:
    assert service.client.server.app[DESK].lookups is None  # type: ignore[attr-defined]
    made = await store(service, learner_name=None)
    assert (await see(service, f"/certificates/{made.serial}.json")).body["learnerName"] is None


# The list of a user


async def test_the_list_of_ones_own(service: Service) -> None:
    made = await store(service)
    base = str(service.client.make_url("")).rstrip("/")
    wanted = {
        "certificates": [
            {
                "serial": made.serial,
                "courseId": made.course_id,
                "courseTitle": "Pottery for Beginners",
                "issuedAt": "2026-11-21T09:30:00Z",
                "status": "valid",
                "url": f"{base}/certificates/{made.serial}",
                "pdfUrl": f"{base}/certificates/{made.serial}.pdf",
            }
        ]
    }
    token = service.token(made.user_id, aud="milepost")
    mine = await service.get("/v1/certificates", by=token)
    assert (mine.status, mine.body) == (200, wanted)
    assert "RateLimit-Remaining" in mine.headers
    assert (await service.get(f"/v1/certificates?userId={made.user_id}")).body == wanted
    again = await service.get("/v1/certificates", by=token, If_None_Match=mine.headers["ETag"])
    assert again.status == 304


async def test_nobody_elses_list(service: Service) -> None:
    made = await store(service)
    token = service.token("somebody", aud="milepost")
    for user in (made.user_id, "nobody"):
        answer = await service.get(f"/v1/certificates?userId={user}", by=token)
        assert (answer.status, answer.error["code"]) == (403, "forbidden_subject")
    assert (await service.get("/v1/certificates", by=token)).body == {"certificates": []}
    assert (await service.get("/v1/certificates", by=None)).status == 401
    answer = await service.get("/v1/certificates")
    assert (answer.status, answer.error["code"]) == (422, "missing_subject")
    ingest = await service.make_key("ingest")
    assert (await service.get("/v1/certificates?userId=u", by=ingest)).status == 403
    answer = await service.get("/v1/certificates?userId=%00")
    assert (answer.status, answer.error["code"]) == (422, "invalid_id")
    answer = await service.get("/v1/certificates?userId=u&after=x")
    assert (answer.status, answer.error["code"]) == (400, "invalid_position")


# From the last lesson to the wall


async def test_the_whole_way(service: Service) -> None:
    mark = uuid.uuid4().hex[:8]
    user, course, lesson = f"u-{mark}", f"c-{mark}", f"l-{mark}"
    admin = await service.make_key("admin")
    body = {"title": "Töpfern", "lessons": [{"id": lesson, "title": "Ton"}]}
    put = await service.ask("PUT", f"/v1/courses/{course}", body, by=admin)
    assert put.status == 200, put.body
    token = service.token(user, aud="milepost")
    empty = await service.get("/v1/certificates", by=token)
    assert empty.body == {"certificates": []}
    done = {"kind": "lesson.completed", "userId": user, "data": {"lessonId": lesson, "courseId": course}}
    sent = await service.send(done, by=token)
    assert sent.status == 202, sent.body
    listed = await service.get(
        f"/v1/certificates?after={sent.body['position']}", by=token, If_None_Match=empty.headers["ETag"]
    )
    assert "Milepost-Stale" not in listed.headers
    (one,) = listed.body["certificates"]
    assert (one["courseId"], one["courseTitle"], one["status"]) == (course, "Töpfern", "valid")
    drawn = await see(service, urlsplit(one["pdfUrl"]).path)
    assert scanned(drawn.body) == [one["url"]]
    assert "Töpfern" in text(drawn.body)

    path = f"/v1/admin/certificates/{one['serial']}"
    revoked = await service.send({"reason": "Somebody else sat there"}, f"{path}/revoke", by=admin)
    assert revoked.status == 200, revoked.body
    page = Page((await see(service, urlsplit(one["url"]).path)).body.decode())
    assert {"Revoked certificate", "Somebody else sat there"} <= set(page.words)
    (listed_again,) = (await service.get("/v1/certificates", by=token)).body["certificates"]
    assert listed_again == {**one, "status": "revoked"}
    again = await service.send({}, f"{path}/reinstate", by=admin)
    assert again.status == 200, again.body
    page = Page((await see(service, urlsplit(one["url"]).path)).body.decode())
    assert "Valid certificate" in page.words
