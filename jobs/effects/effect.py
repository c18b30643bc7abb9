"""Effects: what leaves the house. Written with the states that call for them, one delivery for each destination."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from db import sql
from jobs.family import Effect

QUERIES: Final = sql.read("effects")
FIRST_LOOK: Final = 5.0
"""Seconds after which the sweep hands over what the process that committed it did not."""


def message_id(subject: str, effect_id: str) -> str:
    """What receivers tell a repeated effect by: `msg_` and 27 letters and digits of a SHA-256."""
    digest = hashlib.sha256(f"{subject}\0{effect_id}".encode()).digest()
    return "msg_" + base64.b32encode(digest)[:27].decode().lower()


async def insert(conn: asyncpg.Connection, effects: Sequence[Effect]) -> list[UUID]:
    """Write effects and a delivery of each for every destination that takes its type; the deliveries' ids.

    An effect whose (subject, id) is there already is left as it was. The caller owns the transaction.
    """
    rows = [
        (one.subject, one.id, message_id(one.subject, one.id), one.type, one.at, _json(one.data), one.order)
        for one in effects
    ]
    made = await conn.fetch(QUERIES["insert_effects"], *map(list, zip(*rows, strict=True)), FIRST_LOOK)
    return [row["id"] for row in made]


def _json(data: object) -> str:
    return msgspec.json.encode(data).decode()
