"""Live snapshots of a subject: a short Redis stream each, kept only while somebody listens or may come back.

API processes say whom somebody listens to, in one sorted set a partition: subject -> until when (unix seconds).
Workers look there first, so that what nobody waits for costs neither memory nor messages.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from db import keys
from db.stream import Position

KEPT: Final = 64
"""Snapshots kept of a subject, about: who was away for longer begins with the state as it is."""
KEPT_SECONDS: Final = 3600
"""How long a subject is kept after its last listener left."""
MARK: Final = ""
"""Event of the entry that begins a stream: it says nothing."""
AGAIN: Final = "!"
"""Event of an entry that says: something changed, read the state as it is."""

Snapshot = tuple[str, str, bytes]
"""Subject, event, JSON body."""


class Entry(NamedTuple):
    """One snapshot as it is read."""

    position: Position
    event: str
    body: bytes


async def listened(client: Redis, partition: int, subjects: Collection[str]) -> set[str]:
    """Those that somebody listens to: one trip, and usually none."""
    if not subjects:
        return set()
    asked = list(subjects)
    now = time.time()
    # ZMSCORE, one command for all of them.
    until = await client.zmscore(keys.listened(partition), asked)
    return {subject for subject, score in zip(asked, until, strict=True) if score is not None and score > now}


async def publish(client: Redis, partition: int, snapshots: Sequence[Snapshot]) -> None:
    """Snapshots for those who listen, in order. One may come twice: the newest is the state."""
    if not snapshots:
        return
    pipe = client.pipeline(transaction=False)
    for subject, event, body in snapshots:
        pipe.xadd(keys.live(partition, subject), {"event": event, "body": body}, maxlen=KEPT, approximate=True)
    tell(pipe, {subject for subject, _, _ in snapshots})
    await pipe.execute()


def tell(pipe: Pipeline, subjects: Iterable[str]) -> None:
    """Wake the API processes, with one message for all of these subjects."""
    if named := sorted(subjects):
        pipe.publish(keys.LIVE_CHANNEL, "\n".join(named))


async def again(client: Redis, partition: int) -> None:
    """Redis may have lost snapshots: who listens to any subject of this partition reads its state as it is."""
    heard = await client.zrangebyscore(keys.listened(partition), time.time(), "+inf")
    await publish(client, partition, [(subject.decode(), AGAIN, b"") for subject in heard])


async def keep(client: Redis, subjects: Iterable[tuple[int, str]]) -> list[Position]:
    """Say that somebody listens to these (partition, subject), from now on; the newest position of each."""
    asked = list(subjects)
    now = time.time()
    pipe = client.pipeline(transaction=False)
    for partition, subject in asked:
        pipe.zadd(keys.listened(partition), {subject: now + KEPT_SECONDS})
        pipe.expire(keys.live(partition, subject), KEPT_SECONDS)
        pipe.xrevrange(keys.live(partition, subject), count=1)
    for partition in sorted({partition for partition, _ in asked}):
        pipe.zremrangebyscore(keys.listened(partition), "-inf", now)
        pipe.expire(keys.listened(partition), KEPT_SECONDS)
    found = await pipe.execute()
    newest = [rows[0][0] if rows else None for rows in found[2 : 3 * len(asked) : 3]]
    begun = iter(await _begin(client, [one for one, held in zip(asked, newest, strict=True) if held is None]))
    return [Position.parse(next(begun) if held is None else held) for held in newest]


async def _begin(client: Redis, subjects: Sequence[tuple[int, str]]) -> list[bytes]:
    """A first entry, so that a listener's position is that of an entry, and can be seen to be kept or not."""
    if not subjects:
        return []
    pipe = client.pipeline(transaction=False)
    for partition, subject in subjects:
        pipe.xadd(keys.live(partition, subject), {"event": MARK, "body": b""}, maxlen=KEPT, approximate=True)
        pipe.expire(keys.live(partition, subject), KEPT_SECONDS)
    return list((await pipe.execute())[::2])


async def since(client: Redis, wanted: Sequence[tuple[int, str, Position]]) -> list[list[Entry] | None]:
    """The entries behind each (partition, subject, position); None where that position is not kept any more.

    What lies on a node that does not answer has nothing new, as long as any node answers.
    """
    pipe = client.pipeline(transaction=False)
    for partition, subject, position in wanted:
        pipe.xrange(keys.live(partition, subject), min=str(position))
    found = await pipe.execute(raise_on_error=False)
    for one in found if all(isinstance(one, Exception) for one in found) else ():
        raise one
    return [
        [] if isinstance(rows, Exception) else _behind(rows, position)
        for rows, (_, _, position) in zip(found, wanted, strict=True)
    ]


def _behind(rows: Sequence[tuple[bytes, dict[bytes, bytes]]], position: Position) -> list[Entry] | None:
    """Without the first row, which is the position itself: where it is missing, others may be, too."""
    entries = [Entry(Position.parse(row), values[b"event"].decode(), values[b"body"]) for row, values in rows]
    return entries[1:] if entries and entries[0].position == position else None
