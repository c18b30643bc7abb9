"""Which dead letters: of a code, a kind, a family; page by page, and part by part for those who go through all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from db import sql
from jobs.families import BY_KIND, FAMILIES
from jobs.place import Place

QUERIES: Final = sql.read("pipe")
CHUNK: Final = 200
FAMILY_NAMES: Final = tuple(one.name for one in FAMILIES)
_FIRST: Final = UUID(int=0)


class Filter(NamedTuple):
    """Those of a code, of a kind, of the kinds of a family; None: whatever it is."""

    code: str | None = None
    kind: str | None = None
    family: str | None = None

    @property
    def kinds(self) -> list[str] | None:
        """The kinds that are meant; None: all, also those that nobody knows."""
        if self.family is None:
            return None if self.kind is None else [self.kind]
        return sorted(
            name for name, (own, _) in BY_KIND.items() if own.name == self.family and self.kind in {None, name}
        )


def family_of(kind: str) -> str | None:
    """The family of a kind; None of one that nobody knows."""
    return BY_KIND[kind][0].name if kind in BY_KIND else None


async def page(
    conn: asyncpg.Connection, chosen: Filter, limit: int, behind: Place | None, *, every: bool
) -> tuple[list[asyncpg.Record], int, Place | None]:
    """Letters, newest first, the open ones unless `every`; how many there are in all; where the next page begins."""
    which = every, chosen.code, chosen.kinds
    at = (behind.at, behind.id) if behind else (None, None)
    rows = await conn.fetch(QUERIES["page_dead_letters"], *which, *at, limit + 1)
    total: int = await conn.fetchval(QUERIES["count_chosen_letters"], *which)
    kept = rows[:limit]
    return kept, total, Place(kept[-1]["dead_at"], kept[-1]["id"]) if len(rows) > limit else None


async def begin(conn: asyncpg.Connection) -> Place:
    """Before the first of those that are open now."""
    return Place(await conn.fetchval("SELECT now()"), _FIRST)


async def found(
    conn: asyncpg.Connection, chosen: Filter, place: Place | None = None, most: int | None = None
) -> AsyncIterator[list[UUID]]:
    """The open ones behind a place, `most` at most, chunk by chunk; none that died behind its time, like by a retry."""
    at, after = place or await begin(conn)
    left = most
    while left is None or left > 0:
        limit = CHUNK if left is None else min(CHUNK, left)
        rows = await conn.fetch(QUERIES["find_dead_letters"], chosen.code, chosen.kinds, after, at, limit)
        if not rows:
            return
        yield [row["id"] for row in rows]
        after = rows[-1]["id"]
        left = None if left is None else left - len(rows)


async def left(conn: asyncpg.Connection, chosen: Filter, place: Place) -> int:
    """How many open ones are behind a place."""
    number: int = await conn.fetchval(QUERIES["count_left_letters"], chosen.code, chosen.kinds, place.id, place.at)
    return number
