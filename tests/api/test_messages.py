"""Catalogs of messages: complete in every language, chosen by Accept-Language, added with one file."""

from __future__ import annotations

import re
import string
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import messages

SHIPPED = sorted(path.stem for path in messages.FOLDER.glob("*.toml"))
CATALOGS = {tag: messages.load(messages.FOLDER / f"{tag}.toml") for tag in SHIPPED}


def placeholders(text: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}


def test_what_is_shipped() -> None:
    assert {"de", "en", "es"} <= set(SHIPPED)


@pytest.mark.parametrize("tag", SHIPPED)
def test_every_language_has_the_same_keys_and_placeholders(tag: str) -> None:
    english = {key: placeholders(text) for key, text in CATALOGS["en"].items()}
    assert {key: placeholders(text) for key, text in CATALOGS[tag].items()} == english
    assert all(text.strip() == text and text for text in CATALOGS[tag].values())
    assert CATALOGS[tag]["language.direction"] in {"ltr", "rtl"}


@pytest.mark.parametrize("tag", sorted(set(SHIPPED) - {"en"}))
def test_a_language_is_not_a_copy_of_english(tag: str) -> None:
    same = {key for key, text in CATALOGS[tag].items() if text == CATALOGS["en"][key]}
    assert len(same) < len(CATALOGS[tag]) / 4, same


def test_every_key_that_the_code_names_exists() -> None:
    named: set[str] = set()
    for path in Path("api").glob("*.py"):
        named |= set(re.findall(r"""messages\.text\([^,()]+,\s*"([a-z_.]+)\"""", path.read_text()))
    assert named <= CATALOGS["en"].keys()


def test_a_language_is_one_file_and_its_gaps_are_english(tmp_path: Path) -> None:
    for tag in SHIPPED:
        (tmp_path / f"{tag}.toml").write_text((messages.FOLDER / f"{tag}.toml").read_text())
    (tmp_path / "pt-BR.toml").write_text('[course]\nunknown = "Esse curso não existe."\n')
    found = messages.load_all(tmp_path)
    assert found["pt-br"]["course.unknown"] == "Esse curso não existe."
    assert found["pt-br"]["lesson.unknown"] == CATALOGS["en"]["lesson.unknown"]
    assert messages.negotiate("pt-BR,pt;q=0.9,en;q=0.8", tuple(found)) == "pt-br"
    assert messages.negotiate("pt,de;q=0.1", tuple(found)) == "de"


@pytest.mark.parametrize("value", ['"{name.__class__}"', '"{}"', '"{name!r}"', '"{name:>9999}"', '"{0}"', "7", "true"])
def test_a_catalog_with_anything_else_is_refused_by_its_key(tmp_path: Path, value: str) -> None:
    path = tmp_path / "xx.toml"
    path.write_text(f"[course]\nunknown = {value}\n")
    with pytest.raises(ValueError, match=r"xx\.toml: course\.unknown"):
        messages.load(path)


def test_values_are_put_in_as_they_are() -> None:
    assert messages.text("en", "request.invalid_at", path="{path} {x} <b>") == (
        "The input is not valid: {path} {x} <b>."
    )
    assert messages.text("de", "course.unknown") == "Diesen Kurs gibt es nicht."
    assert messages.text("tlh", "course.unknown") == "There is no such course."
    with pytest.raises(KeyError):
        messages.text("en", "no.such.key")
    with pytest.raises(KeyError):
        messages.text("en", "request.invalid_at")


def test_days_as_one_writes_them() -> None:
    at = datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert messages.date("en", at) == "February 28, 2026"
    assert messages.date("de", at) == "28. Februar 2026"
    assert messages.date("es", at) == "28 de febrero de 2026"
    months = {messages.date("de", datetime(2026, month, 1, tzinfo=UTC)) for month in range(1, 13)}
    assert len(months) == 12


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("DE-at", "de"),
        ("es-419,es;q=0.9", "es"),
        ("fr-FR, de;q=0.7, en;q=0.3", "de"),
        ("en;q=0.3, de;q=0.7", "de"),
        ("en;q=0.5, es;q=0.5", "en"),
        ("fr", "en"),
        ("fr, *;q=0.5", "en"),
        ("en;q=0, *", "de"),
        ("de;q=0, *;q=0.1", "en"),
        ("de;q=0", "en"),
        ("de ; q = 0.5 , es", "es"),
        ("de;q=0.001", "de"),
        ("de;q=2, es;q=0.1", "es"),
        ("de;q=nan, es;q=-1", "en"),
        ("de;level=1, es", "es"),
        ("../../etc/passwd", "en"),
        ("de\x00", "en"),
        (",;,;=,*;q=,de", "de"),
        ("\ud800de,es", "es"),
        ("x" * 100_000 + ",de", "en"),
        ("de" + "-a" * 100_000, "de"),
        ("fr," * 300 + "de,", "de"),
        ("fr," * 100_000 + "de", "en"),
        ("de;q=0." + "1" * 100_000, "en"),
    ],
    ids=lambda value: value[:30].encode("ascii", "backslashreplace").decode(),
)
def test_negotiation(header: str, language: str) -> None:
    assert messages.negotiate(header, ("de", "en", "es")) == language


@given(st.text() | st.from_regex(r"([a-z]{1,3}(-[a-z]{1,3})?(;q=[01](\.[0-9])?)?,?){0,5}"))
def test_any_header_gets_a_language(header: str) -> None:
    assert messages.negotiate(header) in messages.LANGUAGES
