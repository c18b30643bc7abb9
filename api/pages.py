"""Which part of a long list is asked for: `?limit=` and `?page=`, counted from 1, or the cursor of an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from aiohttp import web

from api import errors

T = TypeVar("T")
MOST: Final = 200
MOST_SKIPPED: Final = 100_000
"""Rows before a page: Postgres reads all of them."""


class Page(NamedTuple):
    """Rows, and how many lie before them."""

    limit: int
    offset: int

    @property
    def number(self) -> int:
        """Counted from 1."""
        return self.offset // self.limit + 1


def read(request: web.Request, default: int = 50, most: int = MOST) -> Page:
    """Of the query, `most` rows at the most. Raises Problem 400 invalid_parameter."""
    limit, page = number(request, "limit", default, most), number(request, "page", 1, MOST_SKIPPED)
    if (page - 1) * limit > MOST_SKIPPED:
        raise errors.parameter("page", f"more than {MOST_SKIPPED} rows lie before this page")
    return Page(limit, (page - 1) * limit)


def number(request: web.Request, name: str, default: int, most: int) -> int:
    """A whole number of the query, from 1 to `most`. Raises Problem 400 invalid_parameter."""
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise errors.parameter(name, f"{name} is a number from 1 to {most}")
    return int(text)


def place(given: str | None, parse: Callable[[str], T], code: str = "invalid_parameter") -> T | None:
    """Of a cursor that an earlier answer gave, as `parse` reads it. Raises Problem with this code."""
    try:
        return None if given is None else parse(given)
    except ValueError as error:
        raise errors.parameter("cursor", str(error), code) from None
