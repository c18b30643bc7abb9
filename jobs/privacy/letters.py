"""Actions that wait in tables, as MessagePack: dead letters, and follow-ups on their way back into the log."""

from __future__ import annotations

from collections import Counter
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from jobs.action import Action
from jobs.dead import decode
from jobs.privacy.sessions import number
from jobs.privacy.tombstones import QUERIES, Erased

PREFETCH: Final = 500
_encode: Final = msgspec.msgpack.Encoder().encode


async def erase(conn: asyncpg.Connection, user_id: str, erased: Erased) -> Counter[str]:
    """Dead letters of who is erased, and their follow-ups; the caller owns the transaction.

    What cannot be decoded goes when the user's id stands in it. A follow-up of an organisation loses the name.
    """
    letters = [
        UUID(row["key"])
        async for row in conn.cursor(QUERIES["all_dead_letters"], prefetch=PREFETCH)
        if _is_theirs(decode(row["body"]), row["body"], user_id, erased)
    ]
    follow_ups: list[tuple[str, str]] = []
    changed: list[tuple[str, str, bytes]] = []
    async for row in conn.cursor(QUERIES["all_follow_ups"], prefetch=PREFETCH):
        action = decode(row["body"])
        if _is_theirs(action, row["body"], user_id, erased):
            follow_ups.append((row["subject"], row["key"]))
        elif action is not None and (cleared := erased.cleared(action)) is not action:
            changed.append((row["subject"], row["key"], _encode(cleared)))
    if changed:
        await conn.executemany(QUERIES["change_follow_up"], changed)
    keys = [subject for subject, _ in follow_ups], [key for _, key in follow_ups]
    return Counter(
        dead_letters=number(await conn.execute(QUERIES["erase_dead_letters"], letters)),
        follow_ups=number(await conn.execute(QUERIES["erase_follow_ups"], *keys)),
    )


def _is_theirs(action: Action | None, body: bytes, user_id: str, erased: Erased) -> bool:
    if action is None:
        return user_id.encode() in body
    return erased.cleared(action) is None
