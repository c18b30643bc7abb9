"""Deliveries from the commit to the receiver: signed, retried, in order, apart from each other."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from arq import Worker
from standardwebhooks import Webhook

from db.settings import Settings
from jobs.effects import deliveries, delivery, destinations, gates
from tests.worker import receiver
from tests.worker.office import Office, office, soon
from tests.worker.receiver import answering, effect, hang, register
from tests.worker.rig import until
from worker import sweeps

# arq closes its pool by a name that redis-py has given up.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")


async def test_an_effect_arrives_signed_and_is_delivered(made: Office) -> None:
    async with receiver.receiver() as there:
        _, secret = await register(made.pool, there.url)
        await made.put([effect(1, "certificate.issued", serial="ABCD", name="Zoë „x“")])
        await made.stands(delivered=1)
    (got,) = there.got
    assert got.json == {
        "type": "certificate.issued",
        "timestamp": "2026-11-21T08:00:00Z",
        "data": {"serial": "ABCD", "name": "Zoë „x“"},
    }
    assert Webhook(secret).verify(got.body, got.headers) == got.json
    assert got.id.startswith("msg_")
    assert got.headers["content-type"] == "application/json"
    (attempt,) = await receiver.attempts(made.pool)
    assert (attempt["number"], attempt["status"], attempt["error"]) == (1, 200, None)
    assert attempt["milliseconds"] >= 0


async def test_a_failure_is_tried_again_with_the_same_id_and_every_attempt_is_kept(made: Office) -> None:
    async with receiver.receiver(answering(500, 404, 204)) as there:
        await register(made.pool, there.url)
        await made.put([effect()])
        for number in (1, 2):
            await made.tried(number)
            (row,), attempt = await receiver.rows(made.pool), (await receiver.attempts(made.pool))[-1]
            low, high = [timedelta(seconds=seconds) for seconds in ((4, 6), (240, 360))[number - 1]]
            assert row["due_at"] - attempt["at"] >= low
            assert row["due_at"] - await made.pool.fetchval("SELECT now()") <= high
            assert row["enqueue_at"] == row["due_at"]
            assert await made.hurry() == "1 handed over"
        await made.stands(delivered=1)
    assert list(there.ids.values()) == [3]
    assert len({got.headers["webhook-signature"] for got in there.got}) >= 1
    tried = [(one["number"], one["status"], one["response"]) for one in await receiver.attempts(made.pool)]
    assert tried == [(1, 500, "answer 1"), (2, 404, "answer 2"), (3, 204, "")]


async def test_behind_the_last_try_it_is_dead(made: Office) -> None:
    async with receiver.receiver(answering(400)) as there:
        await register(made.pool, there.url)
        await made.put([effect()])
        for number in range(1, len(delivery.DELAYS) + 1):
            await made.tried(number)
            assert await made.statuses() == {"pending": 1}
            await made.hurry()
        await made.stands(dead=1)
        assert len(there.got) == 10
    (row,) = await receiver.rows(made.pool)
    assert (row["reason"], row["attempts"]) == ("10 tries failed", 10)
    assert row["done_at"] is not None


async def test_a_410_disables_the_destination_and_stops_what_waits(made: Office) -> None:
    async with receiver.receiver(answering(410)) as there, receiver.receiver() as other:
        one, _ = await register(made.pool, there.url)
        await register(made.pool, other.url)
        await made.put([effect(n, order="k") for n in range(5)])
        await made.stands(discarded=5, delivered=5)
        assert len(there.got) == 1
        assert await made.put([effect(9)])  # to the other one alone
        await made.stands(discarded=5, delivered=6)
    held = await made.pool.fetchrow("SELECT * FROM destinations WHERE id = $1", one)
    assert held["disabled_reason"] == deliveries.GONE
    rows = [row for row in await receiver.rows(made.pool) if row["destination"] == one]
    assert {row["reason"] for row in rows} == {deliveries.GONE}
    assert sorted(row["attempts"] for row in rows) == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(("status", "header", "least"), [(429, "100", 100), (503, "7200", 7200), (502, "9e9", 86400)])
async def test_retry_after_is_honoured_and_bounded(made: Office, status: int, header: str, least: int) -> None:
    async with receiver.receiver(answering(status, **{"Retry-After": header})) as there:
        one, _ = await register(made.pool, there.url)
        await made.put([effect(1)])
        await made.tried(1)
        (row,), (attempt,) = await receiver.rows(made.pool), await receiver.attempts(made.pool)
        now = await made.pool.fetchval("SELECT now()")
        wanted = timedelta(seconds=least)
        assert (row["due_at"] - attempt["at"] >= wanted, row["due_at"] - now <= wanted) == (True, True)
        # Everything else for it waits, too, but no longer than an hour.
        paused = await made.pool.fetchval("SELECT paused_until FROM destinations WHERE id = $1", one)
        wanted = min(wanted, timedelta(hours=1))
        assert (paused - attempt["at"] >= wanted, paused - now <= wanted) == (True, True)
        await made.put([effect(2)])
        await soon(lambda: not made.outbox._jobs)
        assert await made.pool.fetchval("SELECT attempts FROM deliveries WHERE effect_id = 'e-2'") == 0
    assert len(there.got) == 1


async def test_both_secrets_sign_while_one_is_being_changed(made: Office) -> None:
    async with receiver.receiver() as there:
        one, old = await register(made.pool, there.url)
        async with made.pool.acquire() as conn, conn.transaction():
            changed = await destinations.rotate(conn, one)
        assert changed is not None
        await made.put([effect(1)])
        await made.stands(delivered=1)
        await made.pool.execute("UPDATE destinations SET previous_until = now() - interval '1 s'")
        await made.put([effect(2)])
        await made.stands(delivered=2)
    both, single = there.got
    assert both.headers["webhook-signature"].count(" ") == 1
    for secret in (old, changed[0]):
        Webhook(secret).verify(both.body, both.headers)
    assert " " not in single.headers["webhook-signature"]
    Webhook(changed[0]).verify(single.body, single.headers)


# Apart from each other.


async def test_a_hanging_destination_delays_no_other(settings: Settings) -> None:
    async with (
        office(settings, webhook_timeout=5.0) as made,
        receiver.receiver(hang) as bad,
        receiver.receiver() as good,
    ):
        await register(made.pool, bad.url)
        await register(made.pool, good.url)
        await made.put([effect(1)])
        await soon(lambda: len(bad.got) == 1 and len(good.got) == 1)
        for number in range(2, 300):
            await made.put([effect(number)])
        await soon(lambda: len(good.got) == 299)
        assert len(bad.got) < 100, "the good one's went ahead"
        assert bad.most <= 4
        await soon(lambda: bad.now == 0)
        assert all(row["attempts"] <= 1 for row in await receiver.rows(made.pool))


async def test_after_failures_in_a_row_it_rests_and_one_try_decides(made: Office) -> None:
    """Nothing of what waits loses a try of its own while its destination is away."""
    well = False

    async def answer(_: web.Request, __: int) -> web.StreamResponse:
        return web.Response(status=200 if well else 500)

    async with receiver.receiver(answer) as there:
        one, _ = await register(made.pool, there.url)
        await made.put([effect(n) for n in range(50)])
        await made.tried(5)
        await soon(lambda: there.now == 0)
        await soon(lambda: not made.outbox._jobs)
        tried = len(there.got)
        assert tried <= 5 + gates.FIRST - 1, "those that were under way when the fifth failed"
        await made.tried(tried)
        rests = "SELECT paused_until > now() FROM destinations WHERE id = $1"
        assert await made.pool.fetchval(rests, one)
        await made.pool.execute("UPDATE destinations SET paused_until = now() + interval '1 h'")
        for _ in range(3):
            # As if the time had come, also of those that were put back for want of a place.
            await made.pool.execute("UPDATE deliveries SET due_at = now(), enqueue_at = now() WHERE status = 'pending'")
            await made.sweep()
        assert len(there.got) == tried, "it rests"
        # The rest is over: one of the 50 tries, and fails; the rest is longer.
        held = await made.pool.fetchrow("SELECT failures, paused_until FROM destinations WHERE id = $1", one)
        await made.hurry()
        await made.tried(tried + 1)
        again = await made.pool.fetchrow("SELECT failures, paused_until FROM destinations WHERE id = $1", one)
        assert again["failures"] == held["failures"] + 1
        assert len(there.got) == tried + 1
        well = True

        async def delivered() -> bool:
            await made.hurry()
            return await made.statuses() == {"delivered": 50}

        await until(delivered, "50 delivered")
    held = await made.pool.fetchrow("SELECT failures, paused_until FROM destinations WHERE id = $1", one)
    assert tuple(held) == (0, None)


async def test_what_waited_for_longer_than_all_tries_is_given_up(closed: Office) -> None:
    await register(closed.pool, "http://127.0.0.1:1/")
    await closed.put([effect(1), effect(2)])
    await closed.pool.execute("UPDATE deliveries SET opened_at = now() - interval '5 days' WHERE effect_id = 'e-1'")
    assert await sweeps.settle_deliveries(closed.ctx) == "0 discarded, 1 given up"
    assert await closed.statuses() == {"pending": 1, "dead": 1}


async def test_what_has_no_destination_any_more_is_discarded(closed: Office) -> None:
    for number in (1, 2, 3):
        await register(closed.pool, f"http://127.0.0.1:{number}/")
    await closed.put([effect()])
    first, second, _ = [row["destination"] for row in await closed.pool.fetch("SELECT destination FROM deliveries")]
    await closed.pool.execute("DELETE FROM destinations WHERE id = $1", first)
    await closed.pool.execute(
        "UPDATE destinations SET disabled_at = now(), disabled_reason = 'why' WHERE id = $1", second
    )
    assert await sweeps.settle_deliveries(closed.ctx) == "2 discarded, 0 given up"
    reasons = {row["destination"]: row["reason"] for row in await receiver.rows(closed.pool)}
    assert (reasons[first], reasons[second]) == ("the destination was removed", "why")


# Order.


async def test_effects_of_one_key_arrive_in_order_one_at_a_time(made: Office) -> None:
    async def slow(_: web.Request, __: int) -> web.StreamResponse:
        await asyncio.sleep(0.01)
        return web.Response()

    async with receiver.receiver(slow) as there:
        await register(made.pool, there.url)
        for begin in range(0, 30, 10):
            await made.put([effect(n, "t", order="one") for n in range(begin, begin + 10)])
        await made.stands(delivered=30)
    assert [got.json["data"]["number"] for got in there.got] == list(range(30))
    assert there.most == 1


async def test_a_failure_holds_up_its_own_key_alone(made: Office) -> None:
    refused = True

    async def answer(request: web.Request, _: int) -> web.StreamResponse:
        body = await request.json()
        return web.Response(status=400 if refused and body["data"]["key"] == "a" else 200)

    async with receiver.receiver(answer) as there:
        await register(made.pool, there.url)
        await made.put([effect(n, "t", order="ab"[n % 2], key="ab"[n % 2], n=n) for n in range(10)])
        await made.stands(delivered=5, pending=5)
        await made.tried(6)
        refused = False
        await made.hurry()
        await made.stands(delivered=10)
    numbers = [got.json["data"]["n"] for got in there.got if got.json["data"]["key"] == "a"]
    assert numbers == [0, 0, 2, 4, 6, 8]


async def test_the_next_of_an_order_is_handed_over_while_its_first_job_still_ends(
    made: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """arq drops at a job's end what bears its name: the job that found an earlier one in its way ends last of all."""
    finish, all_done = Worker.finish_job, asyncio.Event()

    async def late(self: Worker, *args: Any) -> None:
        if not all_done.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(all_done.wait(), 2.0)
        await finish(self, *args)

    monkeypatch.setattr(Worker, "finish_job", late)
    async with receiver.receiver() as there:
        await register(made.pool, there.url)
        await made.put([effect(n, order="one", n=n) for n in range(6)])
        try:
            await made.stands(delivered=6)
        finally:
            all_done.set()
    assert [got.json["data"]["n"] for got in there.got] == list(range(6))


async def test_without_a_key_they_go_side_by_side(made: Office) -> None:
    async def slow(_: web.Request, __: int) -> web.StreamResponse:
        await asyncio.sleep(0.2)
        return web.Response()

    async with receiver.receiver(slow) as there:
        await register(made.pool, there.url)
        await made.put([effect(n) for n in range(12)])
        await made.stands(delivered=12)
    assert there.most >= 4
