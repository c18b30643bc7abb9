"""Orders to erase somebody and their receipts, which name nobody."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from jobs.place import Place
from jobs.privacy import tombstones
from jobs.privacy.tombstones import QUERIES


class Receipt(msgspec.Struct, rename="camel"):
    """What was erased, and when. It names nobody: `person` is a keyed digest of the user id."""

    id: UUID
    person: str
    status: str
    """`waiting` for a worker, `running`, `done`."""
    stage: str | None
    """What is being done, while it runs."""
    tries: int
    failure: str | None
    """What ended the last try; a worker tries again."""
    requested_at: datetime
    positions: dict[str, str] | None
    """Partition -> the position in the log up to which actions had been applied; nothing behind it was, or will be."""
    removed: dict[str, int]
    """Table -> rows; those of shared sessions and of organisations that stayed are not among them."""
    done_at: datetime | None


async def order(conn: asyncpg.Connection, user_id: str) -> UUID:
    """Write down that somebody is to be erased; an order that is not done yet is found again."""
    person = await name(conn, user_id)
    while True:
        await conn.execute(QUERIES["order_erasure"], person, user_id)
        row = await conn.fetchrow(QUERIES["open_erasure"], person)
        if row is not None:
            found: UUID = row["id"]
            return found


async def name(conn: asyncpg.Connection, user_id: str) -> str:
    """The digest by which a receipt knows a user."""
    key = await conn.fetchval(QUERIES["privacy_key"])
    return tombstones.digest(key, f"user:{user_id}").hex()


async def find(conn: asyncpg.Connection, erasure: UUID) -> Receipt | None:
    """As it stands; None when there was no such order."""
    row = await conn.fetchrow(QUERIES["receipt"], erasure)
    return None if row is None else _receipt(row)


async def page(conn: asyncpg.Connection, limit: int, behind: Place | None) -> tuple[list[Receipt], Place | None]:
    """The newest orders first, and where the next page begins."""
    at = (behind.at, behind.id) if behind else (None, None)
    rows = await conn.fetch(QUERIES["receipts"], *at, limit + 1)
    found = [_receipt(row) for row in rows[:limit]]
    return found, Place(found[-1].requested_at, found[-1].id) if len(rows) > limit else None


def _receipt(row: asyncpg.Record) -> Receipt:
    values: dict[str, Any] = dict(row)
    for column in ("positions", "removed"):
        values[column] = None if row[column] is None else msgspec.json.decode(row[column])
    return Receipt(**values)
