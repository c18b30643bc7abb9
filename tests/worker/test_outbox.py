"""The outbox: whatever dies, comes twice or is lost, each delivery goes, by whichever worker lives."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from aiohttp import web

from db import ending, keys
from db.settings import Settings
from jobs.effects import deliveries
from tests.worker import receiver
from tests.worker.office import Office, office, soon
from tests.worker.receiver import effect, hang, register
from tests.worker.rig import until
from worker import arq_redis, sweeps
from worker import outbox as outboxes

# arq closes its pool by a name that redis-py has given up.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")


async def test_the_sweep_hands_over_what_nobody_did(made: Office) -> None:
    async with receiver.receiver() as there:
        await register(made.pool, there.url)
        await receiver.commit(made.pool, [effect(n) for n in range(600)])
        assert await made.sweep() == "0 handed over", "the process that committed them has its turn first"
        await made.pool.execute("UPDATE deliveries SET enqueue_at = now()")
        assert await made.sweep() == "600 handed over"
        assert await made.sweep() == "0 handed over"
        await made.stands(delivered=600)
    assert set(there.ids.values()) == {1}


@pytest.mark.parametrize("why", [outboxes.COMMITTED, outboxes.FOLLOWS])
async def test_what_has_a_job_gets_no_second_one(closed: Office, why: str) -> None:
    """However long the queue is: a second job would wait in it, too, and find nothing to do."""
    redis = closed.ctx["redis"]
    async with receiver.receiver() as there:
        await register(closed.pool, there.url)
        ids = await receiver.commit(closed.pool, [effect(n) for n in range(20)])
        assert await outboxes.enqueue(redis, [(one, why) for one in ids[:15]]) == 15
        for handed in ("5 handed over", "0 handed over"):
            await closed.pool.execute("UPDATE deliveries SET enqueue_at = now()")
            assert await closed.sweep() == handed
        assert await redis.zcard(keys.ARQ_DELIVERIES) == 20
        closed.open()
        await closed.stands(delivered=20)
    assert set(there.ids.values()) == {1}


async def test_an_arq_that_lost_its_redis_is_filled_again(made: Office) -> None:
    await made.close()
    async with receiver.receiver() as there:
        await register(made.pool, there.url)
        ids = await made.put([effect(n) for n in range(20)])
        await outboxes.enqueue(made.ctx["redis"], [(one, outboxes.COMMITTED) for one in ids])
        assert await made.ctx["redis"].zcard(keys.ARQ_DELIVERIES) == 20
        await made.ctx["redis"].flushdb()
        made.outbox._jobs.clear()
        made.open()
        await made.hurry()
        await made.stands(delivered=20)
    assert set(there.ids.values()) == {1}


async def test_a_job_that_comes_twice_delivers_once(made: Office, settings: Settings) -> None:
    """Two processes, and arq forgets that a job is under way: the row in Postgres decides."""

    async def slow(_: web.Request, __: int) -> web.StreamResponse:
        await asyncio.sleep(0.3)
        return web.Response()

    async with office(settings) as other, receiver.receiver(slow) as there:
        await register(made.pool, there.url)
        ids = await made.put([effect(n) for n in range(8)])
        for _ in range(10):
            for one in (made, other):
                await one.ctx["redis"].flushdb()
                one.outbox.put(ids)
            await asyncio.sleep(0.02)

        # arq ends a job whose body it lost, and drops what was enqueued under that name meanwhile: the sweep finds it.
        async def delivered() -> bool:
            await made.hurry()
            return await made.statuses() == {"delivered": 8}

        await until(delivered, "8 delivered")
    assert set(there.ids.values()) == {1}
    assert [one["number"] for one in await receiver.attempts(made.pool)] == [1] * 8


async def test_a_lease_that_ended_is_taken_by_another(closed: Office) -> None:
    async with receiver.receiver() as there:
        await register(closed.pool, there.url)
        (one,) = await closed.put([effect()])
        lost = await closed.pool.fetchrow(deliveries.QUERIES["claim_delivery"], one, 0.2)
        assert lost is not None
        assert await closed.pool.fetchrow(deliveries.QUERIES["claim_delivery"], one, 10.0) is None
        closed.outbox._jobs.clear()
        closed.open()
        await soon_swept(closed)
        await closed.stands(delivered=1)
    assert len(there.got) == 1


async def soon_swept(one: Office) -> None:
    """Tick until something was handed over."""

    async def handed() -> bool:
        return await one.sweep() != "0 handed over"

    await until(handed, "handed over")


async def test_stopping_lets_what_is_under_way_end(made: Office) -> None:
    async def slow(_: web.Request, __: int) -> web.StreamResponse:
        await asyncio.sleep(0.4)
        return web.Response()

    async with receiver.receiver(slow) as there:
        await register(made.pool, there.url)
        await made.put([effect()])
        await soon(lambda: there.now == 1)
        await made.close()
        assert await made.statuses() == {"delivered": 1}


async def test_what_does_not_end_in_time_is_put_back_with_its_attempt(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arq_redis, "STOP_SECONDS", 0.2)
    async with office(settings, webhook_timeout=30.0) as made, receiver.receiver(hang) as there:
        await register(made.pool, there.url)
        await made.put([effect()])
        await soon(lambda: there.now == 1)
        await made.close()
        (row,) = await receiver.rows(made.pool)
        assert row["status"] == "pending"
        assert row["due_at"] <= await made.pool.fetchval("SELECT now()")
        (attempt,) = await receiver.attempts(made.pool)
        assert attempt["error"] == "the worker was stopped"
        assert await made.sweep() == "1 handed over"


async def test_putting_never_waits_and_drops_what_is_too_much(closed: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outboxes, "MOST", 10)
    closed.outbox.put([UUID(int=n) for n in range(8)])
    closed.outbox.put([UUID(int=n) for n in range(8, 16)])
    assert len(closed.outbox._jobs) == 8


async def test_a_redis_that_is_away_costs_nothing_but_time(settings: Settings) -> None:
    gone = {"redis_url": "redis://127.0.0.1:1/0"}
    async with office(settings, closed=True) as made, receiver.receiver() as there:
        await register(made.pool, there.url)
        away = outboxes.Outbox(made.settings.model_copy(update=gone))
        task = asyncio.create_task(away.run())
        ids = await receiver.commit(made.pool, [effect()])
        away.put(ids)
        await asyncio.sleep(0)
        await ending.ended(task)
        made.open()
        await made.hurry()
        await made.stands(delivered=1)


# Retention.


async def test_old_effects_go_and_what_is_dead_or_waits_stays(closed: Office) -> None:
    await register(closed.pool, "http://127.0.0.1:1/", ["a.*"])
    await closed.put([effect(n, "a.b") for n in range(6)] + [effect(7, "nobody.wants")])
    for number, status in enumerate(("pending", "dead", "delivered", "discarded", "delivered")):
        await closed.pool.execute("UPDATE deliveries SET status = $1 WHERE effect_id = $2", status, f"e-{number}")
    await closed.pool.execute(
        "INSERT INTO delivery_attempts (delivery, number, at, milliseconds) SELECT id, 1, now(), 1 FROM deliveries"
    )
    await closed.pool.execute("UPDATE effects SET created_at = now() - interval '31 days' WHERE id <> 'e-4'")
    assert await sweeps.drop_effects(closed.ctx) == "3 dropped"
    left = {row["id"] for row in await closed.pool.fetch("SELECT id FROM effects")}
    assert left == {"e-0", "e-1", "e-4", "e-5"}
    assert len(await receiver.rows(closed.pool)) == len(await receiver.attempts(closed.pool)) == 4
