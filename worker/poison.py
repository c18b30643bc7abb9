"""A batch that Postgres or a fold refuses: what cannot be applied is found and buried, what can be is applied."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg
import msgspec

from db.stream import Position
from worker import apply, dead_letters
from worker.applied import Applied, Item
from worker.dead_letters import DeadLetter

KnownPoison = dict[tuple[Position, bytes], DeadLetter]
"""What tries that were rolled back found to be poison, by its place and its bytes."""


async def isolate(
    conn: asyncpg.Connection, items: Sequence[Item], since: datetime, replay: bool, into: Applied, known: KnownPoison
) -> None:
    """Apply what can be applied, halving around what cannot: a poison action costs log2(n) savepoints.

    `known` keeps what it learns when the time is over before the end: else one entry of many would come for ever.
    """
    try:
        async with conn.transaction():
            part = await apply.record(conn, items, since, replay)
    except apply.Poisoned as error:
        if len(items) == 1:
            position, action, _ = items[0]
            letter = dead_letters.letter(position, action, "poison", str(error))
            known[position, letter.body] = letter
            into.dead.append(letter)
            return
        middle = len(items) // 2
        await isolate(conn, items[:middle], since, replay, into, known)
        await isolate(conn, items[middle:], since, replay, into, known)
    else:
        into.take(part)


def drop_known(items: Sequence[Item], known: KnownPoison, into: Applied) -> Sequence[Item]:
    """The items without what is known to be poison, which goes to the dead letters at once."""
    if not known:
        return items
    left: list[Item] = []
    for item in items:
        letter = known.get((item[0], msgspec.msgpack.encode(item[1])))
        if letter is None:
            left.append(item)
        else:
            into.dead.append(letter)
    return left
