"""What a server may say on a connection: the answers of one packet are never those of another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from redis import exceptions

from db import connect
from db.wire import Shared, Wire

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[str]:
    """A Redis that says what `talk` makes it say behind the greeting; with the number of the connection."""
    number = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        number += 1
        try:
            await talk(reader, writer, number)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}/0?lib_name=&lib_version="
    finally:
        listening.close()


async def words(reader: asyncio.StreamReader) -> list[bytes]:
    """One command."""
    number = int((await reader.readuntil(b"\r\n"))[1:])
    found = []
    for _ in range(number):
        size = int((await reader.readuntil(b"\r\n"))[1:])
        found.append((await reader.readexactly(size + 2))[:-2])
    return found


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, before: bytes = b"") -> None:
    """Answer each GET with its key."""
    while True:
        command = await words(reader)
        if command[0] == b"GET":
            writer.write(b"$%d\r\n%b\r\n" % (len(command[1]), command[1]) + before)
        else:
            writer.write(b"+OK\r\n")


@asynccontextmanager
async def wire_to(url: str) -> AsyncIterator[Wire]:
    """A connection of its own, closed at the end."""
    client = connect.redis(url)
    wire = Wire(client)
    try:
        yield wire
    finally:
        await wire.close()
        await client.aclose()


@pytest.mark.parametrize("more", [b"$5\r\nother\r\n", b"$5\r\not", b"+", b"-ERR go away\r\n", b"\r\n"])
async def test_an_answer_that_nobody_asked_for_is_nobodys(more: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        await echo(reader, writer, more if number == 1 else b"")

    async with server(talk) as url, wire_to(url) as wire:
        assert await wire.send([("GET", "a")]) == [b"a"]
        assert await wire.send([("GET", "b"), ("GET", "c")]) == [b"b", b"c"]


async def test_one_that_comes_late_is_nobodys_either() -> None:
    go, gone = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        if number == 1:
            task = asyncio.create_task(echo(reader, writer))
            await go.wait()
            writer.write(b"$5\r\nother\r\n")
            await writer.drain()
            gone.set()
            await task
        await echo(reader, writer)

    async with server(talk) as url, wire_to(url) as wire:
        assert await wire.send([("GET", "a")]) == [b"a"]
        go.set()
        await gone.wait()
        async with asyncio.timeout(60):
            while not wire._answers.lost:  # noqa: ASYNC110 - the loop has to turn
                await asyncio.sleep(0)
        assert await wire.send([("GET", "b")]) == [b"b"]


async def test_answers_in_pieces_of_a_byte() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: int) -> None:
        while True:
            command = await words(reader)
            for byte in b"$%d\r\n%b\r\n" % (len(command[-1]), command[-1]):
                writer.write(bytes([byte]))
                await writer.drain()

    async with server(talk) as url, wire_to(url) as wire:
        sent = [("GET", "a\r\nb"), ("GET", "\0" * 40), ("GET", "$1\r\nx\r\n")]
        assert await wire.send(sent) == [one[1].encode() for one in sent]


async def test_who_gives_up_leaves_no_answer_to_the_next(redis_url: str) -> None:
    async with wire_to(redis_url) as wire:
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await wire.send([("ECHO", "old")])
            assert await wire.send([("ECHO", "new")]) == [b"new"]


async def test_a_command_that_cannot_be_written_ends_nobody_elses(redis_url: str) -> None:
    async with connect.redis(redis_url) as client:
        shared = Shared(client)
        shared.start()
        with pytest.raises(exceptions.RedisError):
            await shared.get("\ud800")
        async with asyncio.timeout(60):
            assert await shared.ask(("ECHO", "a")) == b"a"
        await shared.stop()
