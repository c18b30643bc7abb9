"""A real receiver of webhooks on a port of its own, which behaves as a test says, and an outbox to fill."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
from aiohttp import web
from aiohttp.test_utils import TestServer

from jobs.effects import destinations
from jobs.effects import effect as effects
from jobs.family import Effect

AT = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


class Got(NamedTuple):
    """One request as it came."""

    at: float
    headers: dict[str, str]
    body: bytes
    path: str

    @property
    def id(self) -> str:
        """What a receiver dedupes by."""
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


Answer = Callable[[web.Request, int], Awaitable[web.StreamResponse]]


async def well(_: web.Request, __: int) -> web.StreamResponse:
    """200, nothing in it."""
    return web.Response()


def answering(*statuses: int, **headers: str) -> Answer:
    """These statuses, the last one for ever."""

    async def answer(_: web.Request, number: int) -> web.StreamResponse:
        status = statuses[min(number, len(statuses)) - 1]
        return web.Response(status=status, text=f"answer {number}", headers=headers)

    return answer


class Receiver:
    """What came, and how it answers: `answer(request, number of the request, from 1)`."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.got: list[Got] = []
        self.url = ""
        self.most = self.now = 0
        """Requests under way at the same time."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Take one."""
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append(Got(time.monotonic(), headers, body, request.path))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self.answer(request, len(self.got))
        finally:
            self.now -= 1

    @property
    def ids(self) -> Counter[str]:
        """Each webhook-id, and how often it came."""
        return Counter(one.id for one in self.got)


@asynccontextmanager
async def receiver(answer: Answer = well) -> AsyncIterator[Receiver]:
    """A receiver until the block ends; requests that hang are ended with it."""
    made = Receiver(answer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    async with TestServer(app, shutdown_timeout=0.1) as server:
        made.url = str(server.make_url("/hook"))
        yield made


async def hang(_: web.Request, __: int) -> web.StreamResponse:
    """Never answers."""
    await asyncio.sleep(3600)
    raise AssertionError


async def register(pool: asyncpg.Pool, url: str, types: Iterable[str] = (), sort: str = "webhook") -> tuple[UUID, str]:
    """A webhook in the table: its id and secret."""
    assert sort == "webhook"
    async with pool.acquire() as conn, conn.transaction():
        made, secret = await destinations.create(conn, url, list(types), "")
    return made.id, secret


def effect(number: int = 1, type_: str = "certificate.issued", *, order: str | None = None, **data: Any) -> Effect:
    """One that a fold may have emitted."""
    return Effect(type_, f"e-{number}", "user:u-1", AT, data or {"number": number}, order)


async def commit(pool: asyncpg.Pool, found: Iterable[Effect]) -> list[UUID]:
    """As the drain does in its transaction; the deliveries' ids."""
    async with pool.acquire() as conn, conn.transaction():
        return await effects.insert(conn, list(found))


async def rows(pool: asyncpg.Pool) -> list[dict[str, Any]]:
    """The deliveries, in order of creation."""
    return [dict(row) for row in await pool.fetch("SELECT * FROM deliveries ORDER BY created_at, number, destination")]


async def statuses(pool: asyncpg.Pool) -> Counter[str]:
    """How many deliveries are of each status."""
    return Counter(row["status"] for row in await rows(pool))


async def attempts(pool: asyncpg.Pool) -> list[dict[str, Any]]:
    """Every attempt, in order."""
    return [dict(row) for row in await pool.fetch("SELECT * FROM delivery_attempts ORDER BY at, number")]
