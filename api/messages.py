"""What people read, in their language: `api/languages/<tag>.toml`, found by being there; English stands in for gaps.

TOML, because a translator can add a language with one file and no tool: no compiling, no other dependency than Python.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Any, Final

from aiohttp import hdrs, web

FOLDER: Final = Path(__file__).with_name("languages")
DEFAULT: Final = "en"
MOST_CHARACTERS: Final = 1000
"""Of an Accept-Language header; browsers send 20 to 100."""

_RANGE: Final = re.compile(
    r"\s*(\*|[a-z]{1,8}(?:-[a-z0-9]{1,8})*)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?", re.ASCII | re.IGNORECASE
)
_FIELD: Final = re.compile(r"[a-z_]+", re.ASCII)

Catalog = Mapping[str, str]


def load(path: Path) -> dict[str, str]:
    """One language: dotted key -> text; the twelve months are `date.months.1` to `.12`.

    Raises ValueError, naming file and key, for what is no text or has anything but plain {placeholders}.
    """
    found = dict(_flat(tomllib.loads(path.read_text(encoding="utf-8"))))
    for key, text in found.items():
        if not isinstance(text, str) or not all(map(_is_plain, Formatter().parse(text))):
            raise ValueError(f"{path.name}: {key} must be text with plain {{placeholders}}")
    return found


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        inner = {str(number): one for number, one in enumerate(value, 1)} if isinstance(value, list) else value
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, inner


def _is_plain(part: tuple[str, str | None, str | None, str | None]) -> bool:
    _, field, spec, conversion = part
    return field is None or (_FIELD.fullmatch(field) is not None and not spec and conversion is None)


def load_all(folder: Path = FOLDER) -> dict[str, Catalog]:
    """Every language of a folder by its tag in lower case, English in the gaps."""
    found = {path.stem.lower(): load(path) for path in sorted(folder.glob("*.toml"))}
    return {tag: found[DEFAULT] | texts for tag, texts in found.items()}


LANGUAGES: Final = load_all()


def text(language: str, key: str, **values: object) -> str:
    """The message `key` in a language of LANGUAGES (else in English), with its placeholders filled. Plain text."""
    return LANGUAGES.get(language, LANGUAGES[DEFAULT])[key].format_map(values)


def date(language: str, at: datetime) -> str:
    """The day of `at` in UTC, as one writes it: November 21, 2026."""
    day = at.astimezone(UTC)
    return text(language, "date.long", day=day.day, month=text(language, f"date.months.{day.month}"), year=day.year)


def of(request: web.Request) -> str:
    """The language to answer a request in."""
    return negotiate(request.headers.get(hdrs.ACCEPT_LANGUAGE, ""))


@lru_cache(maxsize=256)
def negotiate(header: str, available: Iterable[str] = tuple(LANGUAGES)) -> str:
    """The best of `available` for an Accept-Language header (RFC 9110, by the look-up of RFC 4647); else English.

    `de-AT` finds `de`. What is no language range is passed over, and so is all behind the first 1,000 characters.
    """
    wanted = [found for part in header[:MOST_CHARACTERS].split(",") if (found := _RANGE.fullmatch(part))]
    weights = [(float(one[2] or 1), one[1].lower()) for one in wanted]
    refused = {tag for weight, tag in weights if weight == 0}
    offered = [tag for tag in (DEFAULT, *available) if tag not in refused]
    for _, tag in sorted((one for one in weights if one[0] > 0), key=lambda one: -one[0]):
        for candidate in _ever_shorter(tag):
            if candidate in offered:
                return candidate
        if tag == "*" and offered:
            return offered[0]
    return DEFAULT


def _ever_shorter(tag: str) -> Iterator[str]:
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]
