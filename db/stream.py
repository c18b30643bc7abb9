"""The log: one Redis stream for each partition. Appending on one side, reading and trimming on the other.

An entry has one field `b`: a MessagePack array of records (jobs/action.py), near 64 KiB at most. Its Redis id is the
position of all actions in it.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from zlib import crc32

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from db import keys, log, metrics
from db.connect import Server
from db.wire import Command, Wire

logger = log.get("stream")

ENTRY_BYTES: Final = 64 * 1024
FLUSH_SECONDS: Final = 3.0
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


class Unavailable(Exception):
    """The log cannot take actions now: they may or may not be in it, and the same ids should be sent again."""

    code = "log_unavailable"
    retry_after = 1


class BacklogFull(Unavailable):
    """The unapplied actions have reached the bound, or Redis its memory."""

    code = "backlog_full"
    retry_after = 5


def partition_of(subject: str, partitions: int) -> int:
    """The partition of a subject: CRC-32 of its UTF-8, modulo the count. It can never change."""
    return crc32(subject.encode()) % partitions


def pack(records: Sequence[bytes]) -> bytes:
    """A MessagePack array of records that are MessagePack already."""
    return b"\xdd" + struct.pack(">I", len(records)) + b"".join(records)


Append = tuple[asyncio.Future[str], list[int]]
"""One caller's records on their way: what resolves to the text of its positions, and its places in the flush."""


class Log:
    """The appending side of one API process: the records of all concurrent requests go out in one flush.

    While a flush is under way the next one gathers; the order of one caller's calls is kept.
    """

    def __init__(self, client: Redis, partitions: int, limit: int) -> None:
        self.client, self.partitions, self.limit = client, partitions, limit
        self.waits: list[tuple[str | int, ...]] = []
        """Commands after each flush that wait until it is as durable as promised, see `db.promises`."""
        self.backlog = 0
        """Bytes in the streams at the last look, and those appended since."""
        self.refusal: Unavailable | None = Unavailable("the log has not been checked yet")
        self._callers: list[Append] = []
        self._entries: list[tuple[int, list[bytes]]] = []
        self._open: dict[int, tuple[int, int]] = {}
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop
        self._wire = Wire(client)

    def start(self) -> None:
        """Begin to flush, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._run(), name="log-flush")

    async def stop(self) -> None:
        """Let what has been appended go out, then stop; what comes now is refused."""
        self._closing = True
        if self._task is not None:
            self._wake.set()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._wire.close()

    def append(self, records: Iterable[tuple[int, bytes]]) -> asyncio.Future[str]:
        """Queue (partition, record) pairs; the future has their positions once Redis has them as durably as promised.

        Raises Unavailable at once, or through the future.
        """
        self._admit()
        done: asyncio.Future[str] = self._loop.create_future()
        places: list[int] = []
        for partition, record in records:
            index, size = self._open.get(partition, (-1, 0))
            if index < 0 or size + len(record) > ENTRY_BYTES:
                index, size = len(self._entries), 0
                self._entries.append((partition, []))
            self._entries[index][1].append(record)
            self._open[partition] = (index, size + len(record))
            if not places or places[-1] != index:
                places.append(index)
        if places:
            self._callers.append((done, places))
            self._wake.set()
        else:
            done.set_result("")
        return done

    def _admit(self) -> None:
        if self._closing:
            raise Unavailable("shutting down")
        if self.refusal is not None:
            raise self.refusal
        if self.backlog > self.limit:
            raise BacklogFull("the backlog has reached its bound")

    def _take(self) -> tuple[list[Append], list[tuple[int, list[bytes]]]]:
        taken = self._callers, self._entries
        self._callers, self._entries, self._open = [], [], {}
        self._wake.clear()
        return taken

    async def _run(self) -> None:
        while True:
            if not self._closing:
                await self._wake.wait()
            callers, entries = self._take()
            if not callers:
                return
            metrics.FLUSH_ACTIONS.observe(len(callers))
            try:
                async with asyncio.timeout(FLUSH_SECONDS):
                    positions = await self._flush(entries)
            except Unavailable as error:
                self._fail(callers, error)
            except (RedisError, OSError, TimeoutError) as error:
                logger.warning("append failed", error=str(error) or type(error).__name__, callers=len(callers))
                self._fail(callers, Unavailable("the log did not answer"))
            except Exception:
                logger.exception("append met a fault of its own", callers=len(callers))
                self._fail(callers, Unavailable("the log did not answer"))
            except BaseException:
                self._fail(callers, Unavailable("shutting down"))
                raise
            else:
                self._answer(callers, entries, positions)

    async def _flush(self, entries: list[tuple[int, list[bytes]]]) -> list[str]:
        """One round trip: every entry in one transaction (all or none), then the waits, which MULTI would make void."""
        atomic = len(entries) > 1
        commands: list[Command] = [("MULTI",)] if atomic else []
        for partition, records in entries:
            body = pack(records)
            self.backlog += len(body)
            commands.append(("XADD", keys.actions(partition), "*", "b", body))
        if atomic:
            commands.append(("EXEC",))
        results = await self._wire.send([*commands, *self.waits])
        check(results)
        check_waits(results, len(self.waits))
        ids = results[len(entries) + 1] if atomic else results[:1]
        return [one.decode() for one in ids]

    def _answer(self, callers: list[Append], entries: list[tuple[int, list[bytes]]], positions: list[str]) -> None:
        texts = [f"{partition}.{position}" for (partition, _), position in zip(entries, positions, strict=True)]
        for done, places in callers:
            if not done.done():
                done.set_result(texts[places[0]] if len(places) == 1 else _join(texts, entries, places))

    def _fail(self, callers: list[Append], error: Unavailable) -> None:
        for done, _ in callers:
            if not done.done():
                done.set_exception(error)


def _join(texts: list[str], entries: list[tuple[int, list[bytes]]], places: list[int]) -> str:
    """The last position in every partition."""
    last = {entries[place][0]: texts[place] for place in sorted(places)}
    return ",".join(last[partition] for partition in sorted(last))


def check(results: Sequence[Any]) -> None:
    """Raise Unavailable for what Redis refused, of a transaction the reason first."""
    within = [one for result in results if isinstance(result, list) for one in result]
    for result in within:
        if isinstance(result, Exception):
            raise Unavailable(f"the log refused: {result}")
    for result in results:
        if isinstance(result, OutOfMemoryError):
            raise BacklogFull("Redis has reached its memory bound")
    for result in results:
        if isinstance(result, Exception):
            raise Unavailable(f"the log refused: {result}")


def check_waits(results: Sequence[Any], waits: int) -> None:
    """Raise Unavailable when one of the waits at the end has not reached what is promised."""
    for reached in results[len(results) - waits :] if waits else ():
        check((reached,))
        if (reached[0] if isinstance(reached, list) else reached) < 1:
            raise Unavailable("the action is not yet as durable as promised")


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
