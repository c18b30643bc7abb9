"""Step 6 of a batch: what goes on from here is written in the applying transaction, and sent behind the commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from db import sql
from jobs.action import Action
from jobs.effects import effect
from jobs.family import Effect

QUERIES: Final = sql.read("outbox")


async def write(conn: asyncpg.Connection, found: Sequence[Effect], follow_ups: Sequence[Action]) -> list[UUID]:
    """Effects with a delivery for each destination, whose ids this returns, and follow-up actions."""
    if follow_ups:
        rows = sorted({(one.subject, one.id): msgspec.msgpack.encode(one) for one in follow_ups}.items())
        subjects, ids = [key[0] for key, _ in rows], [key[1] for key, _ in rows]
        await conn.execute(QUERIES["insert_follow_ups"], subjects, ids, [body for _, body in rows])
    return await effect.insert(conn, found) if found else []
