"""One running API with a drain for all tests that do not need one of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
import structlog

from db import embedded
from tests.api.service import Service, apart


@pytest.fixture(scope="package")
async def service(
    _server: asyncpg.Connection, _template: str, _redis_server: str, urls: embedded.Urls
) -> AsyncIterator[Service]:
    """One for all tests of this folder that need none of their own."""
    async with apart(_server, _template, urls.database_url, _redis_server, 9, jwt_audience="milepost") as found:
        yield found


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
