"""A door in front of Milepost that a test can shut, jam, or make swallow every answer. The address stays the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from db import ports


class Gate:
    """Forwards TCP to a port of this host."""

    def __init__(self, upstream: int) -> None:
        self.upstream, self.port = upstream, ports.free()
        self.jammed = False
        """Connections are taken, and nothing comes of it."""
        self.mute = False
        """Requests go through; instead of an answer the connection ends."""
        self.lose = 0
        """So many answers get lost so."""
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where clients are to go."""
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        """Listen, at the same port as before: one that no outgoing connection is given while it is shut."""
        self._server = await asyncio.start_server(self._link, "127.0.0.1", self.port)

    async def shut(self) -> None:
        """End every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        try:
            if self.jammed:
                await asyncio.Event().wait()
            await self._forward(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(task)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.upstream)
        try:
            both = asyncio.create_task(_pump(reader, back)), asyncio.create_task(self._answers(there, writer))
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        finally:
            back.transport.abort()

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await there.read(1 << 16):
            if self.lose:
                self.lose -= 1
                return
            if self.mute or self.jammed:
                return
            writer.write(data)
            await writer.drain()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def gate(upstream: int) -> AsyncIterator[Gate]:
    """An open one, shut at the end."""
    made = Gate(upstream)
    await made.open()
    try:
        yield made
    finally:
        await made.shut()
