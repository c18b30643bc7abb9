"""Certificates over HTTP: the page, the PDF and the JSON that anybody may see, the list of a user, the whole way."""

from __future__ import annotations

import json
import re
import uuid
from datetime import timedelta
from html.parser import HTMLParser
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.certificates import routes as certificates
from db.settings import Settings
from jobs.courses.family import Courses
from jobs.families import FAMILIES
from jobs.privacy.erasure import Erasure
from tests.api.certified import AT, ONE, scanned, see, store, text
from tests.api.listening import listening
from tests.api.service import Service, running

pytestmark = pytest.mark.usefixtures("quiet")


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


@pytest.mark.parametrize("base", ["https://learn.example.com/milepost", ""])
async def test_effects_and_live_events_have_the_address_of_the_setting(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    """Without it they are paths: who reads them sent no request that could say where we are."""
    (courses,) = [one for one in FAMILIES if isinstance(one, Courses)]
    monkeypatch.setattr(courses, "public_url", lambda: base)
    async with running(settings.model_copy(update={"public_url": base}), draining=True) as service:
        course = {"title": "Knots", "lessons": [{"id": "bowline", "title": "Bowline"}]}
        assert (await service.ask("PUT", "/v1/courses/knots", course)).status == 200
        by = service.token("ada", aud="milepost", scope="read")
        done = {"kind": "lesson.completed", "userId": "ada", "data": {"lessonId": "bowline"}}
        async with listening(service, by=by) as one:
            await one.state(1)
            await service.settle(await service.send(done))
            while (told := await one.next()).name != "certificate":
                pass
        serial = told.data["serial"]
        assert told.data["url"] == f"{base}/certificates/{serial}"
        async with listening(service, by=by) as one:
            (state,) = [event for event in await one.state(3) if event.name == "certificate"]
        assert state.data == told.data
        assert state.data["pdfUrl"] == f"{base}/certificates/{serial}.pdf"
        effect = json.loads(await service.sql.fetchval("SELECT data FROM effects WHERE type = 'certificate.issued'"))
        assert effect["url"] == f"{base}/certificates/{serial}"
        own = (await service.get("/v1/certificates", by=by)).body["certificates"][0]["url"]
        assert own.removeprefix(base).endswith(f"/certificates/{serial}")
        assert own.startswith("http")


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
