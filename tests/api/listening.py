"""A client of GET /v1/live, as a browser is one."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web

from api.live.audience import Audience
from api.live.routes import AUDIENCE
from tests.api.service import Service

PATIENCE = 60.0


class Event(NamedTuple):
    """One event as it came."""

    name: str
    data: Any
    id: str


class Stream:
    """What a listener hears."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.last_id = ""
        self.heartbeats = 0
        self.retry = 0

    async def next(self, name: str | None = None) -> Event:
        """The next event, or the next of this name; EOFError at the end."""
        async with asyncio.timeout(PATIENCE):
            while True:
                event = await self._one()
                if event is not None and name in {None, event.name}:
                    return event

    async def state(self, events: int, *, usage: bool = False) -> list[Event]:
        """The events of a beginning, up to the id behind them; of usage, which everybody has, when it is asked for."""
        found: list[Event] = []
        async with asyncio.timeout(PATIENCE):
            before = self.last_id
            while self.last_id == before or len(found) < events:
                event = await self._one()
                if event is not None and (usage or event.name != "usage"):
                    found.append(event)
        return found

    async def ended(self) -> None:
        """Wait for the end; nothing may come before it."""
        try:
            event = await self.next()
        except (EOFError, aiohttp.ClientError):
            return
        raise AssertionError(event)

    async def _one(self) -> Event | None:
        lines: list[tuple[str, str]] = []
        while line := (await self._line()).rstrip("\n"):
            if line.startswith(":"):
                self.heartbeats += 1
                continue
            field, value = re.fullmatch(r"(\w+): (.*)", line).groups()  # type: ignore[union-attr]
            lines.append((field, value))
        found = dict(lines)
        self.last_id = found.get("id", self.last_id)
        self.retry = int(found.get("retry", self.retry))
        data = "\n".join(value for field, value in lines if field == "data")
        return Event(found["event"], json.loads(data), found.get("id", "")) if data else None

    async def _line(self) -> str:
        line = await self.response.content.readline()
        if not line:
            raise EOFError
        return line.decode()


@asynccontextmanager
async def listening(service: Service, *, by: str = "", query: str = "", **headers: str) -> AsyncIterator[Stream]:
    """An open stream; `by`: a token, else the service key."""
    given = {"Authorization": f"Bearer {by or service.key}"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    async with service.client.get(f"/v1/live{query}", headers=given, timeout=aiohttp.ClientTimeout()) as response:
        assert response.status == 200, await response.text()
        yield Stream(response)
        response.close()


def audience(service: Service) -> Audience:
    """Of the application."""
    app: web.Application = service.client.server.app  # type: ignore[attr-defined]
    return app[AUDIENCE]
