"""Appending to the log: one flush for all concurrent requests, answered when it is as durable as promised."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError

from db import keys, log, metrics, stream
from db.wire import Command, Wire

logger = log.get("stream")

ENTRY_BYTES: Final = 64 * 1024
FLUSH_SECONDS: Final = 3.0


class Unavailable(Exception):
    """The log cannot take actions now: they may or may not be in it, and the same ids should be sent again."""

    code = "log_unavailable"
    retry_after = 1


class BacklogFull(Unavailable):
    """The unapplied actions have reached the bound, or Redis its memory."""

    code = "backlog_full"
    retry_after = 5


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
            body = stream.pack(records)
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
