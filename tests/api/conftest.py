"""One running API with a drain for all tests that do not need one of their own."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
import structlog

from api import reads, updates
from api.referrals import routes as referrals
from db import embedded
from tests.api.listening import audience as audience_of
from tests.api.service import Service, apart
from tests.worker.rig import until


@pytest.fixture(scope="package", autouse=True)
def _patient() -> Iterator[None]:
    """A worker that takes its time on a busy machine is waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reads, "AFTER_SECONDS", 30.0)
        patch.setattr(updates, "WAIT_SECONDS", 10.0)
        patch.setattr(referrals, "ISSUE_SECONDS", 10.0)
        yield


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


@pytest.fixture
def user() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def token(service: Service, user: str) -> str:
    return service.token(user, aud="milepost")


@pytest.fixture
async def all_leave(service: Service) -> AsyncIterator[None]:
    """Nobody is left behind by any test."""
    yield

    async def empty() -> bool:
        return not audience_of(service)._listeners

    await until(empty, "all have left")
