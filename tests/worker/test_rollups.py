"""Rolling up beside the drains: two at once, killed at any moment, far behind; what comes of it is what facts say."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
import structlog

from db import connect
from jobs import rebuild
from jobs.action import Action
from jobs.analytics import rebuilding, rolling
from tests.api.service import running
from tests.jobs.making import NOW, make
from tests.worker.rig import Rig
from worker import rollup_jobs
from worker.context import Context

CLICKS = [{"eventType": "selection", "category": name, "selectionValue": "a"} for name in ("nest", "fenster", "x")]


def traffic(number: int) -> list[Action]:
    """Of some sessions and visitors, over two days, some twice, and metrics."""
    rng = random.Random(5)
    made = []
    for n in range(number):
        at = NOW - timedelta(minutes=rng.randrange(2800))
        who: dict[str, Any] = {"session_id": f"s{rng.randrange(60)}", "user_id": rng.choice(["ada", "bob", None])}
        made.append(make(f"a{n}", data=rng.choice(CLICKS), at=at, **who))
        if n % 5 == 0:
            saved = {"configuration": {"n": n % 7}, "trigger": rng.choice(["auto_save", "order_attempt"])}
            made.append(make(f"c{n}", "configuration.saved", saved, at=at, **who))
            made.append(make(f"m{n}", "metric.recorded", {"metricName": "lcp", "value": n / 3}, at=at, **who))
    return [*made, *rng.sample(made, number // 3)]


@pytest.fixture(autouse=True)
def _no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollup_jobs, "RESTS", 0.0)


def context(rig: Rig) -> Context:
    """As the schedule's jobs get it."""
    return {"pool": rig.pool, "settings": rig.settings, "log": rig.client, "lookups": None}  # type: ignore[typeddict-item]


async def rolled(rig: Rig) -> None:
    """Until nothing waits."""
    while await rig.pool.fetchval("SELECT count(*) FROM tracking_changes"):
        await rollup_jobs.roll_up(context(rig))


async def differing(rig: Rig) -> dict[str, int]:
    """What `python -m jobs rebuild --check` says of the rollups."""
    conn, other = [await connect.postgres(rig.settings.database_url) for _ in range(2)]
    try:
        work = rebuild.Rebuild(conn, other, rig.client, True, lambda *_: None, tables=rebuilding.tables())
        return {one.table: one.differing for one in await work.run() if one.differing}
    finally:
        await conn.close()
        await other.close()


async def test_two_rollers_beside_drains_while_connections_die(rig: Rig) -> None:
    """Neither waits for the other in a circle; a pass that is cut off counts nothing, and nothing twice."""
    failures: list[BaseException] = []
    is_over = asyncio.Event()

    async def roll(job: Any) -> None:
        while not is_over.is_set():
            try:
                await job(context(rig))
            except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
                failures.append(error)
            await asyncio.sleep(0)

    async def kill() -> None:
        conn = await connect.postgres(rig.settings.database_url)
        while not is_over.is_set():
            await conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND query ~ 'rollups|visitor_hours|tracking_changes' AND random() < 0.3"
            )
            await asyncio.sleep(0.03)
        await conn.close()

    actions = traffic(600)
    tasks = [asyncio.create_task(roll(rollup_jobs.roll_up)) for _ in range(2)]
    tasks += [asyncio.create_task(roll(rollup_jobs.tidy_rollups)), asyncio.create_task(kill())]
    try:
        for begin in range(0, len(actions), 200):
            await rig.put(actions[begin : begin + 200], 20)
            await rig.finish()
    finally:
        is_over.set()
        await asyncio.gather(*tasks)
    assert not any(isinstance(error, asyncpg.DeadlockDetectedError) for error in failures), failures
    await rolled(rig)
    assert await differing(rig) == {}
    assert await rig.pool.fetchval("SELECT sum(n) FROM rollups WHERE measure = 'metric:lcp' AND grain = 'day'") == 120
    assert await rig.pool.fetchval("SELECT sum(sessions) FROM daily_analytics") == 60


async def test_far_behind_a_pass_takes_as_much_as_it_may(rig: Rig) -> None:
    for n in range(200):
        await rig.pool.execute(
            "INSERT INTO tracking_changes (sessions, changed_at) SELECT array_agg('s' || g), $2 "
            "FROM generate_series($1::int, $1::int + 499) g",
            *(n * 500, NOW - timedelta(seconds=200 - n)),
        )
    passes = 0
    is_done = False
    while not is_done:
        async with rig.pool.acquire() as conn, conn.transaction():
            done = await rolling.roll(conn, datetime.now(UTC))
        assert done.sessions <= rolling.SESSIONS
        passes, is_done = passes + 1, done.is_done
    assert passes == 200 * 500 / rolling.SESSIONS


async def test_a_pass_beside_another_does_nothing(rig: Rig) -> None:
    await rig.put(traffic(10))
    await rig.finish()
    async with rig.pool.acquire() as conn, conn.transaction():
        first = await rolling.roll(conn, datetime.now(UTC))
        async with rig.pool.acquire() as other, other.transaction():
            assert await rolling.roll(other, datetime.now(UTC)) == (0, True, ())
    assert first.sessions > 0
    await rolled(rig)
    assert await differing(rig) == {}


async def test_the_space_of_notes_is_used_again(rig: Rig) -> None:
    for _ in range(5):
        await rig.pool.execute(
            "INSERT INTO tracking_changes (sessions) SELECT ARRAY['s' || g] FROM generate_series(1, 2000) g"
        )
        await rolled(rig)
        await rig.pool.execute("VACUUM tracking_changes")
    assert await rig.pool.fetchval("SELECT pg_relation_size('tracking_changes')") < 500_000


async def test_a_session_aside_is_logged_and_told_to_the_metric(rig: Rig) -> None:
    await rig.put([make(f"a{n}", session_id=f"s{n}") for n in range(5)])
    await rig.finish()
    await rig.pool.execute("UPDATE user_sessions SET total_price = 'NaN' WHERE session_id = 's2'")
    with structlog.testing.capture_logs() as logged:
        assert await rollup_jobs.roll_up(context(rig)) == "4 sessions"
    assert [(line["log_level"], line["session"]) for line in logged] == [("error", "s2")]
    await rollup_jobs.tidy_rollups(context(rig))
    async with running(rig.settings) as service:
        assert "milepost_sessions_aside 1.0" in (await service.get("/metrics")).body.decode()
