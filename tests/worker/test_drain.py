"""The drain: days that are missing, faults that pass, rivals for a partition, batches of the wanted size."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisGone

from db import connect, ending, models, stream
from tests.jobs.making import NOW, START, make
from tests.worker import rig as rigs
from tests.worker.rig import Rig, until
from worker import batch, dead_letters, drain
from worker.applied import Applied

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


# Days.


@pytest.mark.parametrize("days", [-90, -10, 0, 2])
async def test_a_missing_day_is_made_when_it_is_needed(rig: Rig, days: int) -> None:
    await rig.fetch("SELECT drop_days('2999-01-01')")
    actions = [make("a", received_at=NOW + days * DAY), make("b", received_at=NOW)]
    await rig.put(actions)
    await rig.finish()
    await rig.check(actions)
    assert not await rig.dead()


async def test_a_day_that_cannot_be_made_now_ends_nothing(rig: Rig) -> None:
    await rig.fetch("SELECT drop_days('2999-01-01')")
    await rig.put([make("a")])
    worker = rig.drain()
    async with rig.pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock(hashtext('ensure_days'))")
        task = asyncio.create_task(worker.run())
        await until(lambda: _true(worker.failure is not None), "the lock time-out is told")
        assert worker.failure == "LockNotAvailableError"
        assert not task.done()
    await until(rig.is_done, "it goes on")
    await ending.ended(task)
    await rig.check([make("a")])


async def _true(value: bool) -> bool:
    return value


# Faults that pass.

FAULTS: list[Exception] = [
    asyncpg.DeadlockDetectedError("deadlock"),
    asyncpg.SerializationError("serialization"),
    asyncpg.ReadOnlySQLTransactionError("failover"),
    asyncpg.DiskFullError("disk full"),
    asyncpg.LockNotAvailableError("lock"),
    asyncpg.AdminShutdownError("shutdown"),
    asyncpg.ConnectionDoesNotExistError("gone"),
    asyncpg.InterfaceError("closed"),
    asyncpg.TooManyConnectionsError("many"),
    asyncpg.UndefinedColumnError("a migration is missing"),
    ConnectionResetError(),
    TimeoutError(),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
@pytest.mark.parametrize("method", ["fetch", "copy_records_to_table", "execute"])
async def test_a_fault_that_passes_is_tried_again_and_buries_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, fault: Exception, method: str
) -> None:
    failing = _failing(monkeypatch, asyncpg.Connection, method, fault, times=2)
    await rig.put([make("a"), make("b")], size=2)
    worker = rig.drain()
    await rig.finish(worker)
    assert failing() == 0
    assert not await rig.dead()
    await rig.check([make("a"), make("b")])


def _failing(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, fault: Exception, *, times: int, after: bool = False
) -> Callable[[], int]:
    """Calls fail so often; returns how many failures are still to come."""
    original, left = getattr(owner, name), [times]

    async def call(self: object, *args: object, **kwargs: object) -> Any:
        if after and left[0]:
            await original(self, *args, **kwargs)
        if left[0]:
            left[0] -= 1
            raise fault
        return await original(self, *args, **kwargs)

    monkeypatch.setattr(owner, name, call)
    return lambda: left[0]


STEPS = ["read", "_apply", "bury", "publish", "forget"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_fault_at_any_step_leaves_nothing_partial(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    owner: Any = {"_apply": batch, "bury": dead_letters, "read": stream}.get(step, models)
    original, left = getattr(owner, step), [1]

    async def call(*args: Any, **kwargs: Any) -> Any:
        if left[0] and not after:
            left[0] -= 1
            raise RedisGone("gone")
        result = await original(*args, **kwargs)
        if left[0]:
            left[0] -= 1
            raise RedisGone("gone")
        return result

    await rig.put([make("first")])
    await rig.apply(rig.partition("session:s"))
    monkeypatch.setattr(owner, step, call)
    await rig.put([make("a"), make("b"), make("b")], size=2)
    await rig.finish()
    assert left == [0]
    await rig.check([make("first"), make("a"), make("b")])


# Rivals.


async def test_three_drains_share_the_partitions_and_count_once(rig: Rig) -> None:
    async with rigs.rig(rig.settings) as second, rigs.rig(rig.settings) as third:
        actions = [make(f"a{n}", session_id=f"s{n % 40}", at=START + n * MINUTE / 60) for n in range(900)]
        tasks = [asyncio.create_task(own.drain().run()) for own in (rig, second, third)]
        for begin in range(0, 900, 90):
            await rig.put(actions[begin : begin + 90], size=5)
        await until(rig.is_done, "all is applied")
        await asyncio.gather(*map(ending.ended, tasks))
    await rig.check(actions)


@pytest.mark.parametrize("how", ["terminated", "cancelled"])
async def test_a_partition_is_taken_over_within_a_moment(rig: Rig, how: str) -> None:
    partition = rig.partition("session:s")
    holder = await connect.postgres(rig.settings.database_url)
    transaction = holder.transaction()
    await transaction.start()
    query = "SELECT pg_backend_pid() FROM partitions WHERE id = $1 FOR UPDATE"
    held_by = await holder.fetchval(query, partition)
    await rig.put([make("a"), make("b", session_id="s2"), make("c", session_id="s5")])
    task = asyncio.create_task(rig.drain().run())
    await until(_counts(rig, lambda number: number >= 1 or rig.partition("session:s2") == partition), "others go on")
    began = time.monotonic()
    if how == "terminated":
        await rig.fetch("SELECT pg_terminate_backend($1)", held_by)
    else:
        await transaction.rollback()
        await holder.close()
    await until(rig.is_done, "taken over")
    assert time.monotonic() - began < 15
    await ending.ended(task)
    await rig.check([make("a"), make("b", session_id="s2"), make("c", session_id="s5")])


def _counts(rig: Rig, enough: Callable[[int], bool]) -> Callable[[], Any]:
    async def look() -> bool:
        return enough((await rig.fetch("SELECT count(*) FROM user_sessions"))[0])

    return look


async def test_a_copy_that_its_peer_left_open_is_ended(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "STALLED", 0.3)
    partition = rig.partition("session:s")
    stalled = await connect.postgres(rig.settings.database_url, "milepost-drain")
    await stalled.execute("BEGIN")
    await stalled.fetch("SELECT FROM partitions WHERE id = $1 FOR UPDATE", partition)

    async def endless() -> Any:
        yield b"x"
        await asyncio.sleep(3600)

    copy = asyncio.create_task(stalled.copy_to_table("tracked_events", source=endless()))
    await rig.put([make("a")])
    await rig.finish()
    await rig.check([make("a")])
    copy.cancel()
    await asyncio.gather(copy, return_exceptions=True)
    stalled.terminate()


# Sizes.


@pytest.mark.parametrize("size", [1, 20, 200])
async def test_batches_come_near_the_wanted_number_of_actions(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    rig.settings = rig.settings.model_copy(update={"batch_actions": 400, "partitions": 4})
    seen: list[int] = []
    original = drain.Drain._count

    def count(self: drain.Drain, partition: int, done: Applied, seconds: float) -> None:
        seen.append(len(done.items))
        original(self, partition, done, seconds)

    monkeypatch.setattr(drain.Drain, "_count", count)
    await rig.put([make(f"a{n}") for n in range(4000)], size=size)
    await rig.finish()
    assert sum(seen) == 4000
    assert max(seen) < 400 + size
    assert sorted(seen)[len(seen) // 2] >= 200


async def test_entries_that_grow_suddenly_are_not_all_read_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHUNK", 10)
    monkeypatch.setattr(stream, "READ_BYTES", 50_000)
    partition = rig.partition("session:s")
    for _ in range(40):
        await rig.put_bytes(partition, b"x" * 10_000)
    _, found = await stream.read(rig.client, partition, stream.START, 1000)
    assert len(found) == 10
    for count in (1, 7, 10):
        assert len((await stream.read(rig.client, partition, stream.START, count))[1]) == count
    monkeypatch.setattr(stream, "READ_BYTES", 1 << 20)
    assert len((await stream.read(rig.client, partition, stream.START, 35))[1]) == 35
    assert len((await stream.read(rig.client, partition, stream.START, 1000))[1]) == 40


async def test_a_redis_without_memory_is_drained_all_the_same(rig: Rig) -> None:
    await rig.put([make("a")])
    await rig.finish()
    await rig.put([make("b")])
    admin = Redis.from_url(rig.settings.redis_url)
    held = await admin.config_get("maxmemory")
    await admin.config_set("maxmemory", "1")
    try:
        with pytest.raises(Exception, match="maxmemory"):
            await rig.put([make("refused")])
        await rig.finish()
        await rig.check([make("a"), make("b")])
    finally:
        await admin.config_set("maxmemory", held["maxmemory"])
        await admin.aclose()
