"""Reads of lessons that go to Postgres: lists with filters, and single rows by id or by lesson."""

from __future__ import annotations

from typing import NamedTuple

import asyncpg

from jobs.courses.lesson import LessonProgress
from jobs.courses.models import QUERIES

MOST_ROWS = 100
"""The largest page."""


class Wanted(NamedTuple):
    """Which lessons of a user: all that are not deleted, unless a filter says less. Pages count from 1."""

    user_id: str
    course_id: str | None = None
    lesson_id: str | None = None
    completed: bool | None = None
    page: int = 1
    limit: int = 10


class Page(NamedTuple):
    """One page, and how many there are in all."""

    rows: list[LessonProgress]
    total: int
    wanted: Wanted

    @property
    def pagination(self) -> dict[str, int]:
        """`totalItems`, `totalPages`, `currentPage`."""
        pages = -(-self.total // self.wanted.limit)
        return {"totalItems": self.total, "totalPages": pages, "currentPage": self.wanted.page}


async def page(conn: asyncpg.Connection, wanted: Wanted) -> Page:
    """One page of a user's lessons, the newest change first. In a transaction, so that rows and total agree."""
    filters = (wanted.user_id, wanted.course_id, wanted.lesson_id, wanted.completed)
    rows = await conn.fetch(QUERIES["list_progress"], *filters, wanted.limit, (wanted.page - 1) * wanted.limit)
    total = await conn.fetchval(QUERIES["count_progress"], *filters)
    return Page([LessonProgress(*row) for row in rows], total, wanted)


async def by_id(conn: asyncpg.Connection, row_id: str) -> LessonProgress | None:
    """The row of this id, whoever it belongs to; None when there is none or it is deleted."""
    row = await conn.fetchrow(QUERIES["find_progress"], row_id)
    return None if row is None else LessonProgress(*row)


async def by_lesson(conn: asyncpg.Connection, user_id: str, lesson_id: str) -> LessonProgress | None:
    """The row of a user's lesson; None when there is none or it is deleted."""
    row = await conn.fetchrow(QUERIES["find_lesson_progress"], user_id, lesson_id)
    return None if row is None else LessonProgress(*row)
