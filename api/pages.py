"""Which part of a long list is asked for: `?limit=` and `?page=`, counted from 1."""

from __future__ import annotations

from typing import Final, NamedTuple

from aiohttp import web

from api.errors import Problem

MOST: Final = 200
MOST_SKIPPED: Final = 100_000
"""Rows before a page: Postgres reads all of them."""


class Page(NamedTuple):
    """Rows, and how many lie before them."""

    limit: int
    offset: int


def read(request: web.Request, default: int = 50) -> Page:
    """Of the query. Raises Problem 400 invalid_parameter."""
    limit, page = number(request, "limit", default, MOST), number(request, "page", 1, MOST_SKIPPED)
    if (page - 1) * limit > MOST_SKIPPED:
        raise _wrong("page", f"more than {MOST_SKIPPED} rows lie before this page")
    return Page(limit, (page - 1) * limit)


def number(request: web.Request, name: str, default: int, most: int) -> int:
    """A whole number of the query, from 1 to `most`. Raises Problem 400 invalid_parameter."""
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise _wrong(name, f"{name} is a number from 1 to {most}")
    return int(text)


def _wrong(name: str, message: str) -> Problem:
    return Problem("invalid_parameter", message, details={"path": name})
