"""The whole API over real HTTP, with a drain beside it where outcomes matter."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import asyncpg
import jwt
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from redis.asyncio import Redis

from api import app, front, waiting
from api.state import STATE, State
from db import connect, ending, lanes, partitions, service_keys
from db.settings import Settings
from tests.conftest import _clone, _drop
from worker import drain, process
from worker.drain import Drain
from worker.follow_ups import FollowUps

FACTS = ("interaction_events", "configuration_snapshots", "performance_metrics", "tracked_events")
Client = TestClient[web.Request, web.Application]


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def error(self) -> dict[str, Any]:
        """The error; there must be one, and nothing beside it."""
        assert self.body.keys() == {"error"}, self.body
        error: dict[str, Any] = self.body["error"]
        return error


class _Server(TestServer):
    """With the front that a process has."""

    async def _make_runner(self, **kwargs: Any) -> web.BaseRunner:
        return front.Runner(self.app, **kwargs)


@dataclass
class Service:
    """A running API and what a test needs to look behind it."""

    settings: Settings
    client: Client
    sql: asyncpg.Pool
    redis: Redis
    key: str

    @property
    def state(self) -> State:
        """The application's own."""
        return self.client.server.app[STATE]  # type: ignore[attr-defined, no-any-return]

    async def ask(self, method: str, path: str, body: Any = None, *, by: str | None = "", **headers: str) -> Answer:
        """One request; bytes go as they are, anything else as JSON. `by`: a token; "" the service key; None nobody."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if by is not None:
            given.setdefault("Authorization", f"Bearer {by or self.key}")
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None:
            given.setdefault("Content-Type", "application/json")
        content = io.BytesIO(data) if data is not None and len(data) > 1_000_000 else data
        async with self.client.request(method, path, data=content, headers=given) as response:
            text = await response.read()
            is_json = response.content_type == "application/json"
            return Answer(response.status, json.loads(text) if is_json else text, response.headers)

    async def send(self, body: Any, path: str = "/v1/actions", *, by: str | None = "", **headers: str) -> Answer:
        """POST actions."""
        return await self.ask("POST", path, body, by=by, **headers)

    async def get(self, path: str, *, by: str | None = "", **headers: str) -> Answer:
        """GET a path."""
        return await self.ask("GET", path, by=by, **headers)

    async def settle(self, answer: Answer) -> None:
        """Wait until what this answer accepted is applied."""
        wanted = waiting.parse(answer.body["position"], self.settings.partitions)
        assert await self.state.waiting.applied(wanted, 60), "not applied within 60 s"

    async def ids(self, session_id: str) -> set[str]:
        """The ids of all facts of a session."""
        found: set[str] = set()
        for table in FACTS:
            rows = await self.sql.fetch(f"SELECT id FROM {table} WHERE session_id = $1", session_id)
            found |= {row["id"] for row in rows}
        return found

    async def make_key(self, *scopes: str) -> str:
        """A new service key."""
        async with self.sql.acquire() as conn:
            return await service_keys.create(conn, f"test-{uuid.uuid4().hex[:8]}", scopes)

    def token(self, user: str, **claims: Any) -> str:
        """A user token."""
        return jwt.encode({"sub": user, "exp": time.time() + 300, **claims}, self.settings.jwt_secret, "HS256")


@asynccontextmanager
async def running(settings: Settings, *, draining: bool = False) -> AsyncIterator[Service]:
    """The API with these settings, until the block ends."""
    redis = connect.redis(settings.log_url)
    sql = await connect.pool(settings, "test", 4)
    await partitions.agree(sql, redis, settings.partitions)
    async with sql.acquire() as conn:
        key = await service_keys.create(conn, "test", ["ingest", "read"])
    task = await _drain(settings) if draining else None
    try:
        async with TestClient(_Server(app.make(settings))) as client:
            yield Service(settings, client, sql, redis, key)
    finally:
        if task is not None:
            await ending.ended(task)
        sql.terminate()
        await redis.aclose()


@asynccontextmanager
async def apart(
    server: asyncpg.Connection, template: str, database_url: str, redis_url: str, number: int, **changes: Any
) -> AsyncIterator[Service]:
    """One API with a drain for many tests, on a Redis database of its own, since tests flush theirs."""
    made = await _clone(server, template, database_url)
    own = urlsplit(redis_url)._replace(path=f"/{number}").geturl()
    settings = Settings(
        _env_file=None,
        database_url=made,
        redis_url=own,
        partitions=4,
        durability="memory",
        port=0,
        jwt_secret=secrets.token_urlsafe(32),
        **changes,
    )
    async with running(settings, draining=True) as found:
        yield found
    async with connect.redis(own) as client:
        await client.flushdb()
    await _drop(server, made)


async def _drain(settings: Settings) -> asyncio.Task[None]:
    async def run() -> None:
        server = connect.Server()
        client = connect.redis(settings.log_url, server=server)
        pool = await drain.pool(settings)
        journal = lanes.log(client, settings.partitions, sys.maxsize)
        journal.refusal = None
        journal.start()
        try:
            draining = Drain(settings, pool, client, server, FollowUps(pool, journal))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(draining.run())
                tasks.create_task(process._beat(client, draining))
        finally:
            await journal.stop()
            pool.terminate()
            await client.aclose()

    return asyncio.create_task(run(), name="drain")
