"""Actions that cannot be applied: written down with the reason, in the transaction of the batch that met them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import asyncpg
import msgspec

from db import sql
from db.stream import Position
from jobs.action import Action

QUERIES: Final = sql.read("pipe")


class DeadLetter(NamedTuple):
    """An action that cannot be applied, with the reason."""

    position: Position
    action_id: str
    kind: str
    subject: str
    code: str
    message: str
    body: bytes


def letter(position: Position, action: Action, code: str, message: str) -> DeadLetter:
    """That of an action that could be decoded."""
    body = msgspec.msgpack.encode(action)
    return DeadLetter(position, action.id, action.kind, action.subject, code, message[:1000], body)


def unreadable(position: Position, body: bytes, reason: Exception) -> DeadLetter:
    """That of bytes that are no action, or no entry."""
    return DeadLetter(position, "", "", "", "undecodable", str(reason), body)


async def bury(conn: asyncpg.Connection, partition: int, dead: Sequence[DeadLetter]) -> None:
    """Write the dead letters."""
    if not dead:
        return
    rows = ((partition, str(one.position), *map(_storable, one[1:-1]), one.body) for one in dead)
    await conn.execute(QUERIES["insert_dead_letters"], *map(list, zip(*rows, strict=True)))


def _storable(text: str) -> str:
    """Text that Postgres takes: a letter that cannot be buried would block all behind it."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()
