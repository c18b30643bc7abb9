"""What usage leaves to the schedule: expiry, closing, retention, the nightly comparison; never ahead of the log."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

import msgspec
import pytest

from db import keys, metrics, stored_catalog, stream
from jobs import catalog as catalogs
from jobs.action import Action
from jobs.usage import plans, rows
from jobs.usage import view as usage_view
from tests.api.service import running
from tests.jobs.making import NOW
from tests.jobs.metering import CATALOG, DAY, HOUR, SECOND, act
from tests.worker.rig import Rig
from tests.worker.teaching import differences
from worker import usage_jobs
from worker.context import Context

CLOSED = timedelta(hours=24)
"""`closeAfterHours` of the small catalog."""


@pytest.fixture
async def ctx(rig: Rig) -> Context:
    """With the small catalog."""
    async with rig.pool.acquire() as conn:
        await stored_catalog.store(conn, CATALOG)
    return cast("Context", {"pool": rig.pool, "settings": rig.settings, "log": rig.client})


def hold(name: str, got: datetime, ttl: int = 60, **fields: Any) -> Action:
    data = {"action": "OPEN", "quantity": 2, "ttl": ttl, **fields}
    return act(name, "usage.reserved", data, got=got)


async def counters(rig: Rig) -> list[tuple[int, int]]:
    return [tuple(row) for row in await rig.pool.fetch("SELECT used, reserved FROM usage_counters ORDER BY action")]


async def test_what_expired_is_ended_although_nobody_decides_any_more(rig: Rig, ctx: Context) -> None:
    await rig.put([hold("a", NOW - HOUR), hold("b", NOW - HOUR), hold("later", NOW - HOUR, 7200)])
    await rig.finish()
    assert await counters(rig) == [(0, 6)]
    assert await usage_jobs.expire_reservations(ctx) == "2 ended"
    assert await counters(rig) == [(0, 2)]
    assert await rig.fetch("SELECT status FROM usage_reservations ORDER BY id") == ["expired", "expired", "open"]
    assert await usage_jobs.expire_reservations(ctx) == "0 ended"
    assert await differences(rig) == {}
    # The workers go on from there.
    await rig.put([act("c", "usage.committed", {"reservationId": "a"}, got=NOW)])
    await rig.put([act("d", "usage.committed", {"reservationId": "later"}, got=NOW)])
    await rig.finish()
    assert await counters(rig) == [(2, 0)]
    assert await differences(rig) == {}


async def test_a_commit_that_arrived_in_time_is_never_refused_for_the_sweep(rig: Rig, ctx: Context) -> None:
    """It waits in the log, and its reservation has expired by the clock."""
    await entered(rig, hold("a", NOW - HOUR))
    await rig.finish()
    await entered(rig, act("c", "usage.committed", {"reservationId": "a"}, got=NOW - HOUR + 30 * SECOND))
    assert await usage_jobs.expire_reservations(ctx) == "0 ended"
    await rig.finish()
    assert await counters(rig) == [(2, 0)]
    assert await rig.fetch("SELECT status FROM usage_reservations") == ["committed"]


async def entered(rig: Rig, action: Action) -> None:
    """An entry of the log from when the action arrived."""
    at = f"{action.received_at.timestamp() * 1000:.0f}-0"
    await rig.put_bytes(rig.partition(action.subject), stream.pack([msgspec.msgpack.encode(action)]), at)


async def test_a_partition_that_a_worker_holds_comes_to_its_turn_later(
    rig: Rig, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_jobs, "LOCK_SECONDS", 0.05)
    await rig.put([hold("a", NOW - HOUR)])
    await rig.finish()
    async with rig.pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT FROM partitions FOR UPDATE")
        assert await usage_jobs.expire_reservations(ctx) == "0 ended"
    assert await usage_jobs.expire_reservations(ctx) == "1 ended"


async def test_the_view_is_the_same_before_and_after_the_sweep(rig: Rig, ctx: Context) -> None:
    """From Redis as the worker wrote it, from Postgres before, from Postgres after."""
    then = (NOW - HOUR).replace(minute=30, second=0)
    now = then + 120 * SECOND  # of the same month, also when another one began since
    await rig.put([hold("a", then), hold("b", then, 7200)])
    await rig.finish()
    catalog = catalogs.parse(CATALOG)
    held = plans.Plans([], catalog)

    async def seen() -> list[Any]:
        async with rig.pool.acquire() as conn:
            loaded = await usage_view.load(conn, "user:ada", now)
        cached = await rig.client.get(keys.model(rig.partition("user:ada"), usage_view.name("user:ada")))
        found = [usage_view.view(usage_view.decode(body), held, catalog, now) for body in (loaded, cached)]
        return [one["meters"]["OPEN"]["reserved"] for one in found]

    assert await seen() == [2, 2]
    assert await usage_jobs.expire_reservations(ctx) == "1 ended"
    assert await seen() == [2, 2]


async def test_a_period_closes_behind_its_end_and_a_late_action_is_a_correction(rig: Rig, ctx: Context) -> None:
    """Recorded while it was still open; then it is closed, once; then somebody corrects it."""
    at = NOW - 70 * DAY
    await rig.put(
        [act("a", "usage.recorded", {"action": "UP"}, got=NOW), act("g", "usage.recorded", {"action": "DISK"}, got=NOW)]
    )
    await rig.finish()
    await rig.pool.execute(
        "UPDATE usage_counters SET period_start = $1, period_end = $2 WHERE action = 'UP'", at, at + 30 * DAY
    )
    assert await usage_jobs.close_periods(ctx) == "1 closed"
    assert await rig.fetch("SELECT closed_at FROM usage_counters ORDER BY action") == [None, at + 30 * DAY + CLOSED]
    assert await usage_jobs.close_periods(ctx) == "0 closed"


async def test_a_closed_period_takes_late_actions_with_a_revision(rig: Rig, ctx: Context) -> None:
    at = NOW - 70 * DAY
    late = [act(f"a{n}", "usage.recorded", {"action": "UP"}, got=NOW, at=at) for n in range(2)]
    await rig.put([*late, act("now", "usage.recorded", {"action": "UP"}, got=NOW)])
    await rig.finish()
    found = await rig.pool.fetch(
        "SELECT used, revision, closed_at, period_end FROM usage_counters ORDER BY period_start"
    )
    assert [(row["used"], row["revision"]) for row in found] == [(2, 2), (1, 0)]
    assert [row["closed_at"] for row in found] == [found[0]["period_end"] + CLOSED, None]
    assert await rig.fetch("SELECT flags & 8 FROM usage_records ORDER BY id") == [8, 8, 0]
    assert await usage_jobs.close_periods(ctx) == "0 closed"
    # A time of closing that the sweep wrote is never taken back by a worker that had read the row before.
    async with rig.pool.acquire() as conn:
        (row,) = await conn.fetch("SELECT * FROM usage_counters WHERE revision = 0")
        stale = rows.counter(row)
        await conn.execute("UPDATE usage_counters SET closed_at = now() WHERE revision = 0")
        await rows.save_counters(conn, {stale.key: stale})
    assert None not in await rig.fetch("SELECT closed_at FROM usage_counters")


async def test_nothing_closes_before_the_log_has_come_so_far(
    rig: Rig, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.put([act("a", "usage.recorded", {"action": "UP"}, got=NOW)])
    await rig.finish()
    end = NOW - CLOSED - 2 * stream.UNDER_WAY
    await rig.pool.execute("UPDATE usage_counters SET period_start = $1, period_end = $2", end - 30 * DAY, end)
    lag = 3600.0

    async def lags(*_: Any) -> list[float]:
        return [0.0, lag]

    with monkeypatch.context() as patch:
        patch.setattr(stream, "lags", lags)
        assert await usage_jobs.close_periods(ctx) == "0 closed"
    assert await usage_jobs.close_periods(ctx) == "1 closed"


async def test_ended_reservations_go_with_the_day_of_their_facts(rig: Rig, ctx: Context) -> None:
    await rig.put([hold("a", NOW - HOUR), hold("b", NOW - HOUR), hold("open", NOW, 7200)])
    await rig.put([act("r", "usage.released", {"reservationId": "a"}, got=NOW - HOUR)])
    await rig.finish()
    assert await usage_jobs.drop_reservations(ctx) == "0 dropped"
    age = ctx["settings"].retention_days + 1
    await rig.pool.execute("UPDATE usage_reservations SET created_at = created_at - make_interval(days => $1)", age)
    assert await usage_jobs.drop_reservations(ctx) == "2 dropped"
    assert await rig.fetch("SELECT id FROM usage_reservations") == ["open"]


async def test_the_nightly_comparison_tells_the_metric(rig: Rig, ctx: Context) -> None:
    await rig.put([act(f"a{n}", "usage.recorded", {"action": "UP"}, got=NOW, user=f"u{n}") for n in range(4)])
    await rig.finish()
    assert await usage_jobs.compare_counters(ctx) == "0 differ"
    await rig.pool.execute("UPDATE usage_counters SET used = 9 WHERE subject = 'user:u1'")
    await rig.pool.execute("UPDATE usage_counters SET records = 9 WHERE subject = 'user:u2'")
    await rig.pool.execute("DELETE FROM usage_counters WHERE subject = 'user:u3'")
    assert await usage_jobs.compare_counters(ctx) == "3 differ"
    async with running(rig.settings) as service:
        said = (await service.get("/metrics")).body.decode()
    assert 'milepost_states_differing{table="usage_counters"} 3.0' in said
    metrics.unseen()
    assert len(await differences(rig, check=False)) == 3
    assert await usage_jobs.compare_counters(ctx) == "0 differ"
    assert await rig.client.hget(keys.DIFFERING, "usage_counters") == b"0"  # type: ignore[misc]
