"""Postgres and Redis behind TLS, with a certificate that has to be named, and a password that has to be escaped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import pytest
from redis.exceptions import ConnectionError as Unconnected

from db import connect
from db.settings import Settings
from tests import tls
from tests.api.service import Service, running
from tests.db.test_appending import ready, valkey
from tests.tls import Line
from tests.worker import rig as rigs
from tests.worker.rig import until
from tests.worker.test_schedule import _beats, _stopped, _ticks, process
from worker import arq_redis

PASSWORD = "p@ss/w?rd:%41"


class Secured(NamedTuple):
    """Settings by which both servers are reached over TLS, and the lines."""

    settings: Settings
    redis: Line
    postgres: Line


def behind(url: str, line: Line, parameters: str) -> str:
    """The same server, through its line."""
    parts = urlsplit(url)
    scheme = parts.scheme.replace("redis", "rediss")
    netloc = f"{parts.netloc.rpartition('@')[0]}@{tls.HOST}:{line.port}"
    return parts._replace(scheme=scheme, netloc=netloc, query=parameters).geturl()


@pytest.fixture
async def secured(settings: Settings, tmp_path: Path) -> AsyncIterator[Secured]:
    """Both servers behind lines."""
    shown, key = tls.certificate(tmp_path)
    async with tls.line(settings.redis_url, shown, key) as redis, tls.line(settings.database_url, shown, key) as sql:
        changes = {
            "redis_url": behind(settings.redis_url, redis, f"ssl_ca_certs={shown}"),
            "database_url": behind(settings.database_url, sql, f"sslmode=verify-full&sslrootcert={shown}"),
        }
        yield Secured(settings.model_copy(update=changes), redis, sql)


async def post(service: Service, number: int) -> None:
    """Until it is taken, as a client does."""
    while True:
        body = {"id": f"a{number}", "kind": "page.viewed", "sessionId": "s", "data": {"path": "/"}}
        answer = await service.send(body, Prefer="wait=5")
        if answer.status < 500:
            assert answer.status in {200, 202}, answer
            return
        await asyncio.sleep(0.05)


async def test_everything_goes_over_tls_and_outlives_a_cut(secured: Secured) -> None:
    async with running(secured.settings, draining=True) as service:
        for number in range(30):
            if number % 10 == 5:
                secured.redis.cut()
                secured.postgres.cut()
            await post(service, number)
        await until(lambda: _all_there(service), "applied")
        assert (await service.get("/v1/sessions/s")).body["pageViews"] == 30
    assert min(secured.redis.number, secured.postgres.number) > 3


async def _all_there(service: Service) -> bool:
    return await service.ids("s") == {f"a{number}" for number in range(30)}


async def test_a_certificate_that_nobody_named_is_refused(secured: Secured) -> None:
    trusting = secured.settings.redis_url.partition("?")[0]
    client = connect.redis(trusting)
    with pytest.raises(Unconnected, match="CERTIFICATE_VERIFY_FAILED"):
        await client.ping()
    await client.aclose()


async def test_schedules_run_over_tls_with_an_escaped_password(settings: Settings, tmp_path: Path) -> None:
    """The schedules' connections are made by arq, whose own reading of a URL knows neither."""
    shown, key = tls.certificate(tmp_path)
    with valkey(tmp_path / "one", "--appendonly", "yes", "--requirepass", PASSWORD) as plain:
        port = urlsplit(plain).port
        named = f"redis://:{quote(PASSWORD, safe='')}@{tls.HOST}:{port}/0"
        client = await ready(named)
        async with tls.line(named, shown, key) as line, rigs.rig(settings) as rig:
            url = behind(named, line, f"ssl_ca_certs={shown}")
            redis = await arq_redis.connected(url)
            assert await redis.ping()
            await redis.aclose(close_connection_pool=True)
            async with process(rig, redis_url=url) as worker:
                await until(lambda: _beats(client), "it lives")
                await until(lambda: _ticks(client), "so do its schedules")
                await _stopped(worker)
        await client.aclose()
