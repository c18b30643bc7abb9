"""The proxy that cuts lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bench import proxy
from bench.proxy import Proxy


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
    writer.close()


@pytest.fixture
async def line() -> AsyncIterator[Proxy]:
    """A proxy in front of an echo."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    made = Proxy(server.sockets[0].getsockname()[1])
    await made.start()
    yield made
    await made.stop()
    server.close()


async def say(line: Proxy, text: bytes, seconds: float = 5) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
    try:
        writer.write(text)
        return await asyncio.wait_for(reader.readexactly(len(text)), seconds)
    finally:
        writer.transport.abort()


async def test_it_forwards_much_and_in_order(line: Proxy) -> None:
    text = bytes(range(256)) * 4096
    assert await say(line, text) == text


async def test_refused_then_mended_on_the_same_port(line: Proxy) -> None:
    await line.begin("refuse")
    with pytest.raises(ConnectionRefusedError):
        await say(line, b"x")
    await line.mend()
    assert await say(line, b"x") == b"x"


async def test_reset_breaks_what_is_open(line: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    await line.begin("reset")
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.transport.abort()
    assert await say(line, b"y") == b"y"


async def test_silent_lines_stay_silent(line: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    await line.begin("silent")
    with pytest.raises(TimeoutError):
        await say(line, b"new", 0.1)
    await line.mend()
    writer.write(b"old")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readexactly(3), 0.1)
    writer.transport.abort()
    assert await say(line, b"z") == b"z"


async def test_delay_keeps_the_order(line: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "DELAY", 0.1)
    await line.begin("delay")
    reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
    began = asyncio.get_running_loop().time()
    for number in range(100):
        writer.write(b"%03d" % number)
        await asyncio.sleep(0)
    assert await reader.readexactly(300) == b"".join(b"%03d" % number for number in range(100))
    assert asyncio.get_running_loop().time() - began >= 0.2
    await line.mend()
    writer.transport.abort()
