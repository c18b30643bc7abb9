"""What a hosted Postgres and Redis give: a role that owns its database and is nothing else, a user without CONFIG."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import asyncpg
import pytest

from db.settings import Settings
from tests import oldest
from tests.api.service import Service, running
from tests.conftest import of_database
from tests.db.test_appending import ready, valkey
from tests.worker import rig as rigs
from tests.worker.rig import until
from tests.worker.test_schedule import _beats, _stopped, _ticks, process
from worker import arq_redis, schedule
from worker.context import Context

RIGHTS = ("~*", "&*", "+@all", "-@admin", "-@dangerous", "+info")


@pytest.fixture
async def owned(_server: asyncpg.Connection, database_url: str) -> AsyncIterator[str]:
    """An empty database, by the URL of its owner."""
    name = f"owner_{secrets.token_hex(4)}"
    url = of_database(database_url, name)
    parts = urlsplit(url)
    await _server.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}' NOSUPERUSER NOCREATEDB NOCREATEROLE")
    await _server.execute(f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0")
    yield parts._replace(netloc=f"{name}:{name}@{parts.netloc.rpartition('@')[2]}").geturl()
    await _server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await _server.execute(f"DROP ROLE {name}")


async def run(settings: Settings, *words: str) -> str:
    """A command of an operator; what it said."""
    env = os.environ | {"MILEPOST_DATABASE_URL": settings.database_url, "MILEPOST_REDIS_URL": settings.redis_url}
    made = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *words), env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await made.communicate()
    assert made.returncode == 0, said.decode()
    return said.decode()


async def visit(service: Service) -> None:
    """Somebody clicks, learns and uses."""
    answer = await service.send(
        {
            "actions": [
                {"kind": "page.viewed", "sessionId": "s", "userId": "ada", "data": {"path": "/"}},
                {
                    "kind": "onboarding.action_completed",
                    "userId": "ada",
                    "data": {"action": "created_clip", "projectId": "p"},
                },
                {"kind": "usage.recorded", "userId": "ada", "data": {"action": "API_CALL"}},
            ]
        },
        Prefer="wait=10",
    )
    assert (answer.status, answer.body["accepted"]) == (200, 3), answer
    assert (await service.get("/v1/sessions/s")).body["pageViews"] == 1


@oldest.direct_only
async def test_a_role_that_owns_its_database_is_enough(owned: str, settings: Settings, tmp_path: Path) -> None:
    own, backup = settings.model_copy(update={"database_url": owned}), tmp_path / "one.dump"
    assert "applied 0001" in await run(own, "db", "migrate")
    await run(own, "db", "seed")
    async with running(own, draining=True) as service, rigs.rig(own) as rig:
        await visit(service)
        redis = await arq_redis.connected(own.redis_url)
        ctx = {"pool": rig.pool, "settings": own, "log": rig.client, "redis": redis, "lookups": None}
        for job, _ in schedule.SCHEDULES:
            assert await job(cast("Context", ctx)), job.__name__
        await redis.aclose(close_connection_pool=True)
        await run(own, "jobs", "erase", "--user", "ada", "--yes")
        assert await rig.fetch("SELECT count(*)::int FROM onboarding_actions") == [0]
    await run(own, "db", "backup", str(backup))
    await run(own, "db", "restore", str(backup), "--yes")
    assert "0 differ" in await run(own, "jobs", "rebuild", "--check")
    assert "undone" in await run(own, "db", "rollback", "--to", "0", "--yes")


async def test_a_user_of_redis_without_config_is_enough(settings: Settings, tmp_path: Path) -> None:
    with valkey(tmp_path / "one", "--appendonly", "yes", "--appendfsync", "always") as url:
        boss = await ready(url)
        await boss.execute_command("ACL", "SETUSER", "app", "on", ">secret", *RIGHTS)  # type: ignore[no-untyped-call]
        await boss.execute_command("ACL", "SETUSER", "default", "off")  # type: ignore[no-untyped-call]
        own = settings.model_copy(update={"redis_url": url.replace("//", "//app:secret@"), "stream_url": ""})
        async with running(own, draining=True) as service, rigs.rig(own) as rig:
            await visit(service)
            assert "user_sessions" in await run(own, "jobs", "status", "--json")
            async with process(rig, redis_url=own.redis_url) as worker:
                await until(lambda: _beats(service.redis), "it lives")
                await until(lambda: _ticks(service.redis), "so do its schedules")
                await _stopped(worker)
        await boss.aclose()
