"""Real worker processes that are killed: every effect arrives, and a receiver that dedupes counts each once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from db.settings import Settings
from tests.jobs.making import make
from tests.worker import receiver
from tests.worker.office import Office, office, soon
from tests.worker.receiver import effect, hang, register, well
from tests.worker.rig import PATIENCE, Rig
from worker import sweeps

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")
ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def worker(settings: Settings, module: str = "worker") -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker process; killed at the end, if it still runs."""
    names = ("database_url", "redis_url", "partitions", "durability", "webhook_timeout")
    env = os.environ | {f"MILEPOST_{name}".upper(): str(getattr(settings, name)) for name in names}
    env["MILEPOST_WEBHOOK_ALLOW"] = "127.0.0.0/8"
    one = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module), cwd=ROOT, env=env, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield one
    finally:
        if one.returncode is None:
            one.kill()
        await one.wait()


@pytest.fixture
async def desk(settings: Settings) -> AsyncIterator[Office]:
    """An office that only looks: the processes deliver."""
    async with office(settings, closed=True) as one:
        yield one


async def test_killed_between_the_commit_and_the_enqueue(rig: Rig, desk: Office) -> None:
    """A whole action: its fold emits effects, the worker dies behind the commit, the next one's sweep delivers."""
    async with receiver.receiver() as there:
        await register(desk.pool, there.url)
        action = make(
            "a-1",
            "onboarding.action_completed",
            {"action": "created_clip", "projectId": "p-1"},
            session_id=None,
            user_id="u-1",
        )
        await rig.put([action])
        async with worker(desk.settings, "tests.worker.halted") as first:
            async with asyncio.timeout(PATIENCE):
                assert await first.wait() == -signal.SIGKILL
        written = await desk.pool.fetchval("SELECT count(*) FROM deliveries")
        assert written > 0
        assert there.got == []
        assert await desk.ctx["redis"].zcard("mp:arq:deliveries") == 0
        async with worker(desk.settings):
            await desk.stands(delivered=written)
    assert "first_created_clip" in {got.json["type"] for got in there.got}
    assert len(there.ids) == written


async def test_killed_during_the_call(desk: Office) -> None:
    """The lease in Postgres ends; what the killed process left in progress in arq's Redis is in nobody's way."""
    async with receiver.receiver(hang) as there:
        await register(desk.pool, there.url)
        ids = await receiver.commit(desk.pool, [effect(n) for n in range(3)])
        await desk.pool.execute("UPDATE deliveries SET enqueue_at = now()")
        async with worker(desk.settings.model_copy(update={"webhook_timeout": 30.0})) as first:
            await soon(lambda: there.now == 3)
            first.kill()
            await first.wait()
        assert await receiver.attempts(desk.pool) == []
        there.answer = well
        assert await sweeps.sweep_deliveries(desk.ctx) == "0 handed over", "the leases are still held"
        # As if they had ended: 40 s with this time-out.
        await desk.pool.execute("UPDATE deliveries SET due_at = now(), enqueue_at = now()")
        async with worker(desk.settings):
            await desk.stands(delivered=3)
    assert len(ids) == len(there.ids) == 3
    assert set(there.ids.values()) == {2}


async def test_killed_again_and_again_every_effect_arrives(desk: Office) -> None:
    number = 200
    async with receiver.receiver() as there:
        await register(desk.pool, there.url)
        await receiver.commit(desk.pool, [effect(n) for n in range(number)])
        await desk.pool.execute("UPDATE deliveries SET enqueue_at = now()")
        for least in (1, 60, 120):
            async with worker(desk.settings) as one:
                await soon(lambda least=least: len(there.ids) >= least)  # type: ignore[misc]
                one.kill()
                await one.wait()
            await desk.pool.execute("UPDATE deliveries SET due_at = now(), enqueue_at = now() WHERE status = 'pending'")
        async with worker(desk.settings):
            await desk.stands(delivered=number)
    assert len(there.ids) == number


async def test_sigterm_ends_a_worker_that_delivers(desk: Office) -> None:
    async with receiver.receiver(hang) as there:
        await register(desk.pool, there.url)
        await receiver.commit(desk.pool, [effect()])
        await desk.pool.execute("UPDATE deliveries SET enqueue_at = now()")
        async with worker(desk.settings.model_copy(update={"webhook_timeout": 30.0})) as one:
            await soon(lambda: there.now == 1)
            one.terminate()
            async with asyncio.timeout(PATIENCE):
                assert await one.wait() == 0
        (attempt,) = await receiver.attempts(desk.pool)
        assert attempt["error"] == "the worker was stopped"
        (row,) = await receiver.rows(desk.pool)
        assert row["status"] == "pending"
        assert row["due_at"] <= await desk.pool.fetchval("SELECT now()")
