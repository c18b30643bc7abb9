"""The schedules on the real arq: what it does badly by itself stays outside, and each job does what it says."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import asyncpg
import pytest
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from arq.jobs import Job
from arq.worker import Worker, func
from redis.asyncio import Redis

from bench.proxy import Proxy
from db import connect, days, ending, keys
from jobs.tracking.session import Session
from jobs.tracking.states import encode
from tests import clock
from tests.db.test_appending import ready, valkey
from tests.jobs.making import NOW, make
from tests.worker import rig as rigs
from tests.worker.rig import Rig, until
from worker import arq_redis, schedule
from worker import process as worker_process
from worker.context import Context

# arq closes its pool by a name that redis-py has given up.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")

ROOT = Path(__file__).parents[2]
TODAY = NOW.date()
HOUR = timedelta(hours=1)


@pytest.fixture
def ctx(rig: Rig) -> Context:
    """What every job gets."""
    made = {"pool": rig.pool, "settings": rig.settings, "log": rig.client}
    return cast("Context", made)


@pytest.fixture
async def arq(rig: Rig) -> AsyncIterator[ArqRedis]:
    """The pool that enqueues."""
    made = await arq_redis.connected(rig.settings.redis_url)
    yield made
    await made.aclose(close_connection_pool=True)


@asynccontextmanager
async def serving(rig: Rig, *functions: Any) -> AsyncIterator[Worker]:
    """arq's worker as the process runs it, with these jobs besides."""
    redis = await arq_redis.connected(rig.settings.redis_url)
    running = schedule.worker(rig.settings, redis, rig.pool, rig.client)
    running.poll_delay_s = 0.02
    for function in functions:
        running.functions[function.name] = function
    task = asyncio.create_task(running.main())
    try:
        yield running
    finally:
        await ending.ended(task)
        await arq_redis.stop(running)
        await redis.aclose(close_connection_pool=True)


# arq.


def test_every_schedule_has_a_pinned_name_runs_once_for_all_and_leaves_no_result() -> None:
    crons = schedule.crons()
    assert [one.name for one in crons] == [f"cron:{job.__name__}" for job, _ in schedule.SCHEDULES]
    assert len({one.name for one in crons}) == len(crons)
    for one in crons:
        assert one.unique
        assert one.keep_result_s == 0
        assert one.timeout_s is not None
        assert one.max_tries is not None
        assert one.max_tries > 1


async def test_the_worker_is_set_by_keyword_in_utc_with_json(rig: Rig, arq: ArqRedis) -> None:
    running = schedule.worker(rig.settings, arq, rig.pool, rig.client)
    assert running.timezone is UTC
    assert running.queue_name == keys.ARQ_QUEUE
    assert running.keep_result_s == 0
    readers = {running.job_deserializer, running.pool.job_deserializer}
    writers = {running.job_serializer, running.pool.job_serializer}
    assert (readers, writers) == ({arq_redis.decoded}, {arq_redis.encoded})
    assert running.retry_jobs
    assert {name.removeprefix("cron:") for name in running.functions} == {job.__name__ for job, _ in schedule.SCHEDULES}


class Trap:
    """Unpickling this would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.environ["TRAP"],)


async def test_a_pickled_payload_is_refused_and_runs_nothing(
    rig: Rig, arq: ArqRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trap, ran = tmp_path / "trap", asyncio.Event()
    monkeypatch.setenv("TRAP", str(trap))

    async def good(_: Any) -> None:
        ran.set()

    await arq.set(job_key_prefix + "bad", pickle.dumps({"t": 1, "f": "good", "a": (Trap(),), "k": {}, "et": 1}))
    await arq.zadd(keys.ARQ_QUEUE, {"bad": 1})
    async with serving(rig, func(good, name="good", keep_result=0)):  # type: ignore[arg-type]
        await until(_gone(arq, "bad"), "it is put away")
        await arq.enqueue_job("good", _job_id="fine")
        async with asyncio.timeout(rigs.PATIENCE):
            await ran.wait()
    assert not trap.exists()
    assert "error serializing" not in caplog.text


def _gone(arq: ArqRedis, job_id: str) -> Any:
    async def look() -> bool:
        return await arq.zscore(keys.ARQ_QUEUE, job_id) is None

    return look


async def test_no_result_of_a_schedule_stays_in_redis(rig: Rig, arq: ArqRedis) -> None:
    async with serving(rig):  # make_days runs at the start
        await until(_recorded(rig, "make_days"), "it ran")
    assert [key async for key in arq.scan_iter("arq:result:*")] == []


def _recorded(rig: Rig, name: str) -> Any:
    async def look() -> bool:
        return await rig.client.hexists(keys.SCHEDULES, name)  # type: ignore[misc,no-any-return]

    return look


async def test_one_tick_runs_once_for_all_workers(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    async def counted(ctx: Any) -> str:
        ran.append(ctx["job_id"])
        return "ran"

    monkeypatch.setattr(schedule, "SCHEDULES", ((counted, {"second": set(range(60))}),))
    async with serving(rig), serving(rig), serving(rig):
        await until(lambda: _is(len(ran) > 2), "the others had their chance")
    assert len(set(ran)) == len(ran)


async def test_stopping_waits_for_the_job_under_way(rig: Rig, arq: ArqRedis) -> None:
    began, ended = asyncio.Event(), []

    async def slow(_: Any) -> None:
        began.set()
        await asyncio.sleep(0.5)
        ended.append(True)

    async with serving(rig, func(slow, name="slow", keep_result=0)):  # type: ignore[arg-type]
        await arq.enqueue_job("slow", _job_id="one")
        async with asyncio.timeout(rigs.PATIENCE):
            await began.wait()
    assert ended == [True]
    assert await Job("one", arq, _queue_name=keys.ARQ_QUEUE).info() is None


async def test_a_killed_job_is_run_by_the_next_tick(rig: Rig, ctx: Context) -> None:
    """A tick that never ended leaves nothing that the next one would need: what there is to do is in Postgres."""
    await rig.put([make("a", at=NOW - HOUR)])
    await rig.finish()
    conn = await rig.pool.acquire()
    tick = asyncio.create_task(schedule.end_idle_sessions(ctx))
    await asyncio.sleep(0)
    tick.cancel()
    await asyncio.gather(tick, return_exceptions=True)
    await rig.pool.release(conn)
    assert await schedule.end_idle_sessions(ctx) in ("1 ended", "0 ended")
    assert await rig.fetch("SELECT ended_at = last_at FROM user_sessions") == [True]


@pytest.mark.parametrize("fault", [asyncpg.DiskFullError("full"), OSError("gone"), KeyError("a bug")])
async def test_a_failing_schedule_is_recorded_and_ends_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    async def failing(_: Context) -> str:
        raise fault

    monkeypatch.setattr(schedule, "SCHEDULES", ((failing, {"second": 0, "run_at_startup": True}),))
    async with serving(rig) as running:
        await until(_recorded(rig, "failing"), "told")
        await until(lambda: _is(running.jobs_complete == 1), "arq saw no failure")
    record = json.loads((await rig.client.hget(keys.SCHEDULES, "failing")) or b"")  # type: ignore[misc]
    assert record["failed"]
    assert type(fault).__name__ in record["result"]


async def _is(value: bool) -> bool:
    return value


# Jobs.


def test_the_next_run_is_that_of_arq() -> None:
    now = datetime(2026, 11, 21, 3, 16, 30, tzinfo=UTC)
    told = {job.__name__: schedule.due(times, now) - now.timestamp() for job, times in schedule.SCHEDULES}
    assert (int(told["drop_days"]), int(told["end_idle_sessions"]), int(told["sweep_deliveries"])) == (30, 50, 2)
    for one in schedule.crons():
        one.calculate_next(now)
        assert one.next_run is not None
        assert one.next_run.timestamp() - now.timestamp() == told[one.name.removeprefix("cron:")]


async def test_a_worker_says_what_runs_when_and_forgets_jobs_of_another_version(rig: Rig) -> None:
    for key, value in ((keys.SCHEDULES, "{}"), (keys.SCHEDULES_DUE, "1")):
        await rig.client.hset(key, mapping={"dropped_since": value, "drop_days": value})  # type: ignore[misc]
    await schedule.announce(rig.client)
    told = await rig.client.hgetall(keys.SCHEDULES_DUE)  # type: ignore[misc]
    assert {name.decode() for name in told} == {job.__name__ for job, _ in schedule.SCHEDULES}
    assert all(float(at) > time.time() for at in told.values())
    assert await rig.client.hkeys(keys.SCHEDULES) == [b"drop_days"]  # type: ignore[misc]


async def test_days_are_made_and_old_ones_dropped_whole(
    rig: Rig, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (schedule, days):
        monkeypatch.setattr(module, "datetime", clock.standing(NOW))
    keep = rig.settings.retention_days
    for back in (keep - 1, keep, keep + 1, keep + 2):
        await rig.fetch("SELECT ensure_days($1, $1)", TODAY - timedelta(days=back))
    [tables] = await rig.fetch("SELECT count(*) FROM pg_partitioned_table")
    assert await schedule.drop_days(ctx) == f"{2 * tables} dropped"
    held = await rig.fetch(
        "SELECT right(inhrelid::regclass::text, 8) FROM pg_inherits WHERE inhparent = 'tracked_events'::regclass"
    )
    assert min(held) == f"{TODAY - timedelta(days=keep):%Y%m%d}"
    await rig.fetch("SELECT drop_days('2999-01-01')")
    assert await schedule.make_days(ctx) == "made"
    held = await rig.fetch(
        "SELECT right(inhrelid::regclass::text, 8) FROM pg_inherits WHERE inhparent = 'tracked_events'::regclass"
    )
    assert {f"{TODAY + timedelta(days=n):%Y%m%d}" for n in (0, 1, 2)} <= set(held)


async def test_letters_that_somebody_saw_to_go_and_the_others_stay(rig: Rig, ctx: Context) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=rig.settings.retention_days, seconds=5)
    fresh = long_ago + timedelta(seconds=60)
    for name, retried, discarded in (
        ("open", None, None),
        *(("retried", long_ago, None), ("discarded", None, long_ago)),
        *(("just retried", fresh, None), ("just discarded", None, fresh)),
    ):
        await rig.pool.execute(
            "INSERT INTO dead_letters (partition, position, action_id, kind, subject, code, message, body, dead_at, "
            "retried_at, discarded_at) VALUES (0, '1-0', $1, 'k', 's', 'poison', '', '', $4, $2, $3)",
            *(name, retried, discarded, long_ago),
        )
    assert await schedule.drop_dead_letters(ctx) == "2 dropped"
    held = await rig.fetch("SELECT action_id FROM dead_letters ORDER BY 1")
    assert held == ["just discarded", "just retried", "open"]


@pytest.mark.parametrize("job", [schedule.make_days, schedule.drop_days])
async def test_no_setting_stays_on_a_connection(rig: Rig, ctx: Context, job: schedule.Job) -> None:
    rig.pool.terminate()
    one = await asyncpg.create_pool(rig.settings.database_url, min_size=1, max_size=1, reset=_no_reset)
    ctx["pool"] = one
    before = await one.fetchval("SHOW lock_timeout")
    await job(ctx)
    assert await one.fetchval("SHOW lock_timeout") == before
    async with one.acquire() as conn, conn.transaction():
        # As behind pgbouncer: nothing may be set outside of a transaction.
        assert await conn.fetchval("SHOW lock_timeout") == before
    one.terminate()


async def _no_reset(_: Any) -> None:
    return


async def test_idle_sessions_end_and_their_models_go(rig: Rig, ctx: Context) -> None:
    old, young = NOW - HOUR, datetime.now(UTC)
    await rig.put(
        [make("a", at=old, session_id="old"), make("b", at=young, session_id="young"), make("c", at=old, user_id="u")]
    )
    await rig.finish()
    assert await schedule.end_idle_sessions(ctx) == "2 ended"
    ended = {row["session_id"]: row["ended_at"] for row in (await rig.sessions()).values()}
    assert ended == {"old": old, "young": None, f"auto:user:u@{int(old.timestamp() * 1000)}": old}
    await rig.check_models()
    assert await rig.model("old") == b""
    assert await rig.model("young")
    assert await schedule.end_idle_sessions(ctx) == "0 ended"
    # Something new opens it again.
    await rig.put([make("d", at=NOW, session_id="old")])
    await rig.finish()
    row = (await rig.sessions())["old"]
    assert row["ended_at"] is None
    assert await rig.model("old") == encode(Session(**row))


async def test_a_session_that_a_batch_holds_is_left_to_the_next_sweep(rig: Rig, ctx: Context) -> None:
    await rig.put([make(f"a{n}", at=NOW - HOUR, session_id=f"s{n}") for n in range(3)])
    await rig.finish()
    async with rig.pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT FROM user_sessions WHERE session_id = 's1' FOR UPDATE")
        assert await schedule.end_idle_sessions(ctx) == "2 ended"
    assert await schedule.end_idle_sessions(ctx) == "1 ended"


async def test_more_idle_sessions_than_a_sweep_takes_are_all_ended(
    rig: Rig, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "SWEEP_ROWS", 3)
    await rig.put([make(f"a{n}", at=NOW - HOUR, session_id=f"s{n}") for n in range(10)])
    await rig.finish()
    assert await schedule.end_idle_sessions(ctx) == "10 ended"


async def test_heartbeats_of_the_dead_are_forgotten(rig: Rig, ctx: Context) -> None:
    beats = {"dead": {"at": time.time() - 61}, "living": {"at": time.time() - 10}}
    for name, beat in beats.items():
        await rig.client.hset(keys.WORKERS, name, json.dumps(beat))  # type: ignore[misc]
    assert await schedule.forget_workers(ctx) == "1 forgotten"
    assert await rig.client.hkeys(keys.WORKERS) == [b"living"]  # type: ignore[misc]


# The process.


@asynccontextmanager
async def process(rig: Rig, **changes: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m worker`."""
    names = ("database_url", "redis_url", "partitions", "durability")
    values = {name: str(getattr(rig.settings, name)) for name in names} | changes
    env = os.environ | {f"MILEPOST_{name}".upper(): value for name, value in values.items()}
    made = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=env,
    )
    try:
        yield made
    finally:
        if made.returncode is None:
            made.kill()
        await made.communicate()


async def _stopped(one: asyncio.subprocess.Process) -> None:
    one.send_signal(signal.SIGTERM)
    async with asyncio.timeout(rigs.PATIENCE):
        assert await one.wait() == 0


async def test_each_process_has_a_heartbeat_and_stops_when_it_is_told(rig: Rig) -> None:
    async with process(rig) as first, process(rig) as second:

        async def both() -> bool:
            return len(await rig.client.hkeys(keys.WORKERS)) == 2  # type: ignore[misc]

        await until(both, "two heartbeats")
        names = {name.decode().rpartition(":")[2] for name in await rig.client.hkeys(keys.WORKERS)}  # type: ignore[misc]
        assert names == {str(first.pid), str(second.pid)}
        await rig.put([make("a")])
        await until(rig.is_done, "applied")
        await _stopped(first)
        (left,) = await rig.client.hkeys(keys.WORKERS)  # type: ignore[misc]
        assert left.endswith(f":{second.pid}".encode()), "who stopped in good order is not missed"
        await _stopped(second)
        assert not await rig.client.hlen(keys.WORKERS)  # type: ignore[misc]


async def test_a_silent_connection_is_given_up_for_a_new_one(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the machine of Redis is gone without a word, and another has its address."""
    monkeypatch.setattr(arq_redis, "ANSWER_SECONDS", 0.5)
    parts = urlsplit(rig.settings.redis_url)
    proxy = Proxy(parts.port or 0)
    proxy.found_dead = 10 * rigs.PATIENCE
    await proxy.start()
    netloc = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}"
    redis = await arq_redis.connected(parts._replace(netloc=netloc).geturl())
    await proxy.cut("silent", 0.1)
    async with asyncio.timeout(rigs.PATIENCE):
        assert await redis.ping()
    await redis.aclose(close_connection_pool=True)
    await proxy.stop()


async def test_a_restart_of_redis_ends_no_worker_and_its_end_no_stop(rig: Rig, tmp_path: Path) -> None:
    """The same address goes away and comes back; then it goes away for good, and SIGTERM still ends the worker."""
    with valkey(tmp_path / "one", "--appendonly", "yes") as url:
        client = await ready(url)
        async with process(rig, redis_url=url) as worker:
            await until(lambda: _beats(client), "it lives")
            port = url.rsplit(":", 1)[1].removesuffix("/0")
            await _shut_down(client)
            with valkey(tmp_path / "one", "--appendonly", "yes", "--port", port):
                client = await ready(url)
                await client.delete(keys.WORKERS, keys.SCHEDULES)
                await until(lambda: _beats(client), "it lives on")
                await until(lambda: _ticks(client), "so do its schedules")
                assert worker.returncode is None
            assert worker.returncode is None
            await _stopped(worker)
        await client.aclose()


async def test_a_redis_that_does_not_answer_holds_no_stop_up(tmp_path: Path) -> None:
    with valkey(tmp_path / "one") as url:
        client = await ready(url)
        waiting = connect.redis(url, timeout=600)
        await client.client_pause(600_000)
        async with asyncio.timeout(rigs.PATIENCE):
            await worker_process._leave(waiting)
        await waiting.aclose()
        await client.aclose()


async def _beats(client: Redis) -> bool:
    return bool(await client.hlen(keys.WORKERS))  # type: ignore[misc]


async def _ticks(client: Redis) -> bool:
    return bool(await client.hlen(keys.SCHEDULES))  # type: ignore[misc]


async def _shut_down(client: Redis) -> None:
    await client.shutdown(nosave=True)
    await client.aclose()
