"""The PDF of a certificate: what it says, in which letters, whatever the names hold."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as fuzz
from hypothesis import strategies as st

from api.certificates import fonts, pdf
from api.certificates import page as certificate_page
from api.certificates.shown import MOST_CHARACTERS, shown
from tests.api.certified import LONG, ONE, REVOKED, URL, opened, scanned, text


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
