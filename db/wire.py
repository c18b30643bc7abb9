"""One connection to Redis for many callers at once, and commands that share its round trips."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

Command = tuple[str | int | bytes, ...]
SECONDS: Final = 2.0
_Answer = asyncio.Future[Any]


class Wire:
    """Commands in one packet, answers in order; the caller bounds the time. A pool's pipeline costs four times it."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self._connection: AbstractConnection | None = None

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """The answer or the error of each command. One caller at a time."""
        connection = self._connection
        if connection is None:
            connection = self._connection = self.client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
            connection.socket_timeout = None
        try:
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
            return [await _response(connection) for _ in commands]
        except BaseException:
            # The answers still to come belong to nobody: the next packet goes out on a new connection.
            self._connection = None
            await connection.disconnect(nowait=True)
            raise

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            await self._connection.disconnect()


async def _response(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error


class Shared:
    """Commands of all concurrent requests in one packet each turn, as the log does with what comes in."""

    def __init__(self, client: Redis) -> None:
        self._wire = Wire(client)
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
