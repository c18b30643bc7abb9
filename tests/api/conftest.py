"""One running API with a drain for all tests that do not need one of their own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import asyncpg
import pytest
import structlog

from db import connect, embedded
from db.settings import Settings
from tests.api.service import Service, running
from tests.conftest import _clone, _drop


@pytest.fixture(scope="package")
async def service(
    _server: asyncpg.Connection, _template: str, _redis_server: str, urls: embedded.Urls
) -> AsyncIterator[Service]:
    """A Redis database of its own, since tests flush theirs."""
    database_url = await _clone(_server, _template, urls.database_url)
    redis_url = urlsplit(_redis_server)._replace(path="/9").geturl()
    settings = Settings(
        _env_file=None,
        database_url=database_url,
        redis_url=redis_url,
        partitions=4,
        durability="memory",
        port=0,
        jwt_secret=secrets.token_urlsafe(32),
        jwt_audience="milepost",
    )
    async with running(settings, draining=True) as found:
        yield found
    async with connect.redis(redis_url) as client:
        await client.flushdb()
    await _drop(_server, database_url)


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that a client sends is an error of ours."""
    with structlog.testing.capture_logs([structlog.processors.format_exc_info]) as logged:
        yield
    assert [line for line in logged if line["log_level"] in {"error", "critical"}] == []
    assert [record.getMessage() for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}] == []


@pytest.fixture
async def buries_nothing(service: Service) -> AsyncIterator[None]:
    """The door takes nothing that the worker cannot apply."""
    query = "SELECT id, code, message, kind FROM dead_letters WHERE id <> ALL($1::uuid[])"
    before = [row["id"] for row in await service.sql.fetch(query, [])]
    yield
    assert [dict(row) for row in await service.sql.fetch(query, before)] == []
