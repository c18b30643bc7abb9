"""The log: one Redis stream for each partition. What an entry and a position are, reading, and how far it is applied.

An entry has one field `b`: a MessagePack array of records (jobs/action.py), near 64 KiB at most. Its Redis id is the
position of all actions in it. Appending: db/appending.py.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from zlib import crc32

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import ResponseError

from db import keys
from db.connect import Server

UNDER_WAY: Final = timedelta(seconds=60)
"""No request waits that long between its arrival and its entry, and no two clocks of hosts are that far apart."""
_RUN_ID: Final = "return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''"
CHUNK: Final = 500
"""Entries of one trip: however large they are, a batch of 2,000 cannot take more memory than READ_BYTES and these."""
READ_BYTES: Final = 16 << 20


class Position(NamedTuple):
    """A place in one partition's stream; the text form of all partitions is `3.1763712000000-0,5.…`."""

    ms: int
    seq: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @classmethod
    def parse(cls, text: str | bytes) -> Position:
        """`1763712000000-0`; raises ValueError."""
        ms, _, seq = (text.decode() if isinstance(text, bytes) else text).partition("-")
        if not (ms.isascii() and ms.isdigit() and seq.isascii() and seq.isdigit() and len(ms) <= 20 and len(seq) <= 20):
            raise ValueError("a position looks like 1763712000000-0")
        return cls(int(ms), int(seq))


START: Final = Position(0, 0)


class Entry(NamedTuple):
    """One entry as it is read."""

    position: Position
    body: bytes


def partition_of(subject: str, partitions: int) -> int:
    """The partition of a subject: CRC-32 of its UTF-8, modulo the count. It can never change."""
    return crc32(subject.encode()) % partitions


def pack(records: Sequence[bytes]) -> bytes:
    """A MessagePack array of records that are MessagePack already."""
    return b"\xdd" + struct.pack(">I", len(records)) + b"".join(records)


async def size(client: Redis, partitions: int) -> list[int]:
    """Bytes that each partition's stream takes in Redis."""
    return [result or 0 for result in await _sizes(client, partitions).execute()]


async def backlog(client: Redis, partitions: int) -> int:
    """Bytes of all streams; of a cluster those on nodes that answer. Raises RedisError when none does."""
    found = await _sizes(client, partitions).execute(raise_on_error=False)
    known = [result or 0 for result in found if not isinstance(result, Exception)]
    if not known:
        raise found[0]
    return sum(known)


def _sizes(client: Redis, partitions: int) -> Pipeline:
    pipe = client.pipeline(transaction=False)
    for partition in range(partitions):
        pipe.memory_usage(keys.actions(partition))
    return pipe


async def lags(client: Redis, partitions: int) -> list[float]:
    """Age in seconds of each partition's oldest unapplied entry; 0 where all is applied."""
    held = await applied(client, range(partitions))
    pipe = client.pipeline(transaction=False)
    for partition, position in enumerate(held):
        pipe.execute_command("XRANGE", keys.actions(partition), f"({position}", "+", "COUNT", 1)
    pipe.time()
    *firsts, (seconds, _) = await pipe.execute()
    return [max(0.0, seconds - Position.parse(rows[0][0]).ms / 1000) if rows else 0.0 for rows in firsts]


async def watermark(client: Redis, partitions: int, now: datetime) -> datetime:
    """A time before which nothing arrived that is not applied: requests under way and clocks that differ allowed for.

    `now`: taken before this was called, aware.
    """
    return now - timedelta(seconds=max(await lags(client, partitions))) - UNDER_WAY


async def read(
    client: Redis, partition: int, after: Position, count: int, server: Server | None = None
) -> tuple[str, list[Entry]]:
    """The stream's generation (made when it has none) and up to `count` entries behind `after`, READ_BYTES about.

    With `server` the generation is "<generation>/<run id of the server that was read>".
    """
    pipe = client.pipeline(transaction=False)
    if server is not None and server.is_many:
        # First: where the slot moves in between, what is noted is the older server, and the next read begins anew.
        pipe.execute_command("EVAL", _RUN_ID, 1, keys.actions(partition))
    pipe.get(keys.generation(partition))
    _range(pipe, partition, after, min(count, CHUNK))
    *told, generation, rows = await pipe.execute()
    run_id = told[0].decode() if told else server.run_id if server is not None else ""
    found, asked = _entries(rows), CHUNK
    while len(rows) == asked and len(found) < count and sum(len(entry.body) for entry in found) < READ_BYTES:
        asked = min(count - len(found), CHUNK)
        pipe = client.pipeline(transaction=False)
        (rows,) = await _range(pipe, partition, found[-1].position, asked).execute()
        found += _entries(rows)
    text = (await _begin(client, partition) if generation is None else generation).decode()
    return text if server is None else f"{text}/{run_id}", found


def _range(pipe: Pipeline, partition: int, after: Position, count: int) -> Pipeline:
    pipe.execute_command("XRANGE", keys.actions(partition), f"({after}", "+", "COUNT", count)
    return pipe


def _entries(rows: Sequence[Any]) -> list[Entry]:
    return [Entry(Position.parse(row[0]), row[1].get(b"b", b"")) for row in rows]


async def _begin(client: Redis, partition: int) -> bytes:
    """A new generation. Only when there is none: a full Redis refuses every SET, and must be drained all the same."""
    await client.set(keys.generation(partition), secrets.token_hex(8), nx=True)
    generation: bytes = await client.get(keys.generation(partition))
    return generation


async def applied_entries(client: Redis, partition: int, upto: Position) -> list[Entry]:
    """Entries at or below a position: what a crash between commit and trim left behind."""
    rows = await client.execute_command("XRANGE", keys.actions(partition), "-", str(upto))  # type: ignore[no-untyped-call]
    return _entries(rows)


async def last_position(client: Redis, partition: int) -> Position:
    """The newest id that the stream ever gave out; START for a stream that does not exist."""
    try:
        info = await client.xinfo_stream(keys.actions(partition))
    except ResponseError:
        return START
    return Position.parse(info["last-generated-id"])


async def wait(client: Redis, partition: int, after: Position, milliseconds: int) -> bool:
    """Block until the stream has something behind `after`; False when the time is over."""
    found = await client.xread({keys.actions(partition): str(after)}, count=1, block=milliseconds)
    return bool(found)


def sortable(position: Position) -> str:
    """A position whose order as text is its order."""
    return f"{position.ms:020d}-{position.seq:020d}"


async def applied(client: Redis, partitions: Iterable[int]) -> list[Position]:
    """The applied positions as Redis knows them; START where it knows none."""
    found = await client.mget([keys.applied(partition) for partition in partitions])
    return [START if text is None else Position.parse(text) for text in found]
