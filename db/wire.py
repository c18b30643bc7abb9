"""One connection to Redis for many callers at once, and commands that share its round trips."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from hiredis import Reader, pack_command
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from db import log

logger = log.get("wire")

Command = tuple[str | int | bytes, ...]
SECONDS: Final = 2.0
_Answer = asyncio.Future[Any]
_MORE: Final = object()
_packed: Final[Callable[[Command], bytes]] = pack_command  # type: ignore[assignment]


class Wire:
    """Commands in one packet, answers in order; the caller bounds the time. A pool's pipeline costs eight times it."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self._connection: AbstractConnection | None = None
        self._answers: _Answers

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """The answer or the error of each command. One caller at a time."""
        packet = b"".join([_packed(command) for command in commands])
        try:
            if self._connection is None or self._answers.lost:
                await self._connect()
            found: list[Any] = await self._answers.to(packet, len(commands))
        except BaseException:
            # The answers still to come belong to nobody: the next packet goes out on a new connection.
            await self.close()
            raise
        return found

    async def _connect(self) -> None:
        """As redis-py connects, greets and authenticates; its streams and locks are left out from there on."""
        await self.close()
        made = self._connection = self.client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        await made.connect()
        self._answers = _Answers(made._writer.transport, made._parser.parse_error)  # noqa: SLF001

    async def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


class _Answers(asyncio.Protocol):
    """What a server says on one connection, counted out to who asked."""

    def __init__(self, transport: asyncio.Transport, error: Callable[[str], Exception]) -> None:
        """`error`: of what a server says when it refuses."""
        self.lost = False
        self._transport = transport
        self._reader = Reader(protocolError=exceptions.InvalidResponse, replyError=error, notEnoughData=_MORE)
        self._asked: _Answer | None = None
        self._number = 0
        self._found: list[Any] = []
        transport.set_protocol(self)

    def to(self, packet: bytes, number: int) -> _Answer:
        """Send; so many answers."""
        self._asked, self._number, self._found = asyncio.get_running_loop().create_future(), number, []
        self._transport.write(packet)
        return self._asked

    def data_received(self, data: bytes) -> None:
        """Some of the answers, or parts of them."""
        self._reader.feed(data)
        try:
            while len(self._found) < self._number:
                if (found := self._reader.gets(False)) is _MORE:
                    return
                self._found.append(found)
        except exceptions.InvalidResponse as error:
            self._end(error)
        else:
            # An error of one command is its answer; a server that is loading, or wants a password, answers none.
            wrong = (one for one in self._found if isinstance(one, Exception) and not isinstance(one, ResponseError))
            self._end(next(wrong, None))
            if self._reader.has_data():
                # Nobody asked for it: the next packet must not take it for its own answer.
                self.lost = True
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits is told so; the next packet goes out on another connection."""
        self.lost = True
        self._end(exceptions.ConnectionError("Redis closed the connection" if exc is None else str(exc)))

    def _end(self, error: Exception | None) -> None:
        asked, self._asked = self._asked, None
        if asked is None or asked.done():
            return
        if error is None:
            asked.set_result(self._found)
        else:
            asked.set_exception(error)


class Shared:
    """Commands of all concurrent requests in one packet each turn, as the log does with what comes in."""

    def __init__(self, client: Redis, wire: Wire | None = None) -> None:
        """`wire`: the connection; None: one of its own to `client`."""
        self._wire = wire or Wire(client)
        self._gets: dict[str, list[_Answer]] = {}
        self._asked: list[tuple[Command, _Answer]] = []
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._run(), name="shared")

    async def stop(self) -> None:
        """End; who still waits is told so."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        _fail(self._taken()[1], exceptions.ConnectionError("shutting down"))
        await self._wire.close()

    def get(self, key: str) -> _Answer:
        """The value of a key; the future raises RedisError when Redis does not answer."""
        future: _Answer = self._loop.create_future()
        self._gets.setdefault(key, []).append(future)
        self._wake.set()
        return future

    def ask(self, command: Command) -> _Answer:
        """The answer of one command. Whether one that failed was carried out is not known, and it is not sent again."""
        future: _Answer = self._loop.create_future()
        self._asked.append((command, future))
        self._wake.set()
        return future

    def _taken(self) -> tuple[list[Command], list[Sequence[_Answer]]]:
        """What is to be sent now, and who waits for each."""
        gets, asked = self._gets, self._asked
        self._gets, self._asked = {}, []
        commands: list[Command] = [("GET", key) for key in gets]
        waiting: list[Sequence[_Answer]] = list(gets.values())
        for command, future in asked:
            commands.append(command)
            waiting.append((future,))
        return commands, waiting

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            commands, waiting = self._taken()
            try:
                async with asyncio.timeout(SECONDS):
                    answers = await self._wire.send(commands)
            except (RedisError, OSError, TimeoutError) as error:
                _fail(waiting, exceptions.ConnectionError(str(error) or type(error).__name__))
                continue
            except Exception:
                logger.exception("a packet of commands met a fault of its own", commands=len(commands))
                _fail(waiting, exceptions.ConnectionError("the commands could not be sent"))
                continue
            except BaseException:
                _fail(waiting, exceptions.ConnectionError("shutting down"))
                raise
            for futures, value in zip(waiting, answers, strict=True):
                for future in futures:
                    if not future.done():
                        _settle(future, value)


def _settle(future: _Answer, value: Any) -> None:
    if isinstance(value, Exception):
        future.set_exception(value)
    else:
        future.set_result(value)


def _fail(waiting: Sequence[Sequence[_Answer]], error: Exception) -> None:
    for futures in waiting:
        for future in futures:
            if not future.done():
                future.set_exception(error)
