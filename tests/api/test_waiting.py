"""Who waits for an outcome is told, also when the connection that brings it is dead and nobody said so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from db import ending, listening
from db.settings import Settings
from tests.api.service import running
from tests.worker.rig import until


class Between:
    """Between a client and Redis; from `vanish` on it takes what comes on subscriptions, and brings nothing."""

    def __init__(self) -> None:
        self.subscribed = self.vanished = 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
        """One connection."""
        there, back = await asyncio.open_connection(host, port)
        number = 0

        async def forth() -> None:
            nonlocal number
            while data := await reader.read(1 << 16):
                if b"SUBSCRIBE" in data:
                    self.subscribed += 1
                    number = self.subscribed
                if not 0 < number <= self.vanished:
                    back.write(data)

        async def hither() -> None:
            while data := await there.read(1 << 16):
                if not 0 < number <= self.vanished:
                    writer.write(data)

        ways = [asyncio.create_task(way()) for way in (forth, hither)]
        self.tasks.update(ways)
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        await ended(ways)
        back.close()
        writer.close()

    def vanish(self) -> None:
        """Nothing of the subscriptions that there are comes any more."""
        self.vanished = self.subscribed


async def ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Whatever they ended with."""
    await asyncio.gather(*map(ending.ended, tasks))


@asynccontextmanager
async def between(url: str) -> AsyncIterator[tuple[Between, str]]:
    """One, and the URL that leads through it."""
    made, parts = Between(), urlsplit(url)
    port = parts.port or 6379
    server = await asyncio.start_server(lambda r, w: made.serve(r, w, parts.hostname or "", port), "127.0.0.1", 0)
    try:
        user, at, _ = parts.netloc.rpartition("@")
        yield made, parts._replace(netloc=f"{user}{at}127.0.0.1:{server.sockets[0].getsockname()[1]}").geturl()
    finally:
        server.close()
        await ended(made.tasks)


async def test_a_subscription_that_is_dead_is_made_anew(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "PING_SECONDS", 0.1)
    monkeypatch.setattr(listening, "SILENT_SECONDS", 1.0)
    async with between(settings.log_url) as (wire, url):
        changes = {"redis_url": url, "stream_url": url}
        async with running(settings.model_copy(update=changes), draining=True) as service:
            action = {"kind": "session.ended", "sessionId": "s"}
            assert (await service.send(action, Prefer="wait=10")).status == 200
            wire.vanish()
            before = wire.subscribed

            async def again() -> bool:
                return wire.subscribed >= 2 * before

            await until(again, "all of them are made anew")
            assert (await service.send(action, Prefer="wait=10")).status == 200
