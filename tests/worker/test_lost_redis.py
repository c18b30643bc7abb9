"""Caches never go back in time, and a Redis that lost data, or is another one, is seen and read again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from redis.exceptions import ConnectionError as RedisGone

from db import connect, ending, keys, models, stream
from jobs.tracking.session import Session
from jobs.tracking.states import encode
from tests.jobs.making import make
from tests.worker.rig import Rig, until
from worker import drain
from worker.batch import Cursor


async def test_a_cache_that_could_not_be_written_does_not_stay_old(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.put([make("a")])
    worker = rig.drain()
    task = asyncio.create_task(worker.run())
    await until(rig.is_done, "applied")
    old = await rig.model("s")
    assert old
    failing, original = [1], models.publish

    async def publish(*args: Any) -> None:
        if failing[0]:
            failing[0] -= 1
            raise RedisGone("gone")
        await original(*args)

    monkeypatch.setattr(models, "publish", publish)
    await rig.put([make("b")])
    await until(rig.is_done, "applied")
    assert failing == [0]
    await rig.check([make("a"), make("b")])
    assert await rig.model("s") != old
    await ending.ended(task)


async def test_an_older_position_never_overwrites_a_newer_model(rig: Rig) -> None:
    await rig.put([make("a")])
    await rig.finish()
    partition = rig.partition("session:s")
    generation, held = (
        (await rig.fetch("SELECT generation FROM partitions WHERE id = $1", partition))[0],
        await rig.model("s"),
    )
    newest = (await stream.applied(rig.client, [partition]))[0]
    older = stream.Position(newest.ms - 1, 0)
    for position in (older, newest):
        await models.publish(rig.client, partition, generation, position, {"session:s": b"old"}, {})
        assert await rig.model("s") == held
    assert await stream.applied(rig.client, [partition]) == [newest]
    later = stream.Position(newest.ms + 1, 0)
    await models.publish(rig.client, partition, generation, later, {"session:s": b"new"}, {})
    assert await rig.model("s") == b"new"
    name = keys.model(partition, "session:s")
    assert 0 < await rig.client.ttl(name) <= models.MODEL_SECONDS


async def test_a_read_fills_only_what_is_as_new_as_the_partition(rig: Rig) -> None:
    await rig.put([make("a")])
    await rig.finish()
    partition = rig.partition("session:s")
    (newest,), name = await stream.applied(rig.client, [partition]), keys.model(partition, "session:s")
    await rig.client.delete(name)
    await models.fill(rig.client, partition, stream.Position(newest.ms - 1, 0), "session:s", b"old")
    assert await rig.client.get(name) is None
    await models.fill(rig.client, partition, newest, "session:s", b"new")
    assert await rig.client.get(name) == b"new"
    await models.fill(rig.client, partition, newest, "session:s", b"another")
    assert await rig.client.get(name) == b"new"
    assert 0 < await rig.client.ttl(name) <= models.MODEL_SECONDS


async def test_a_dropped_model_is_not_filled_by_a_read_that_began_before(rig: Rig) -> None:
    await rig.put([make("a")])
    await rig.finish()
    partition = rig.partition("session:s")
    (newest,) = await stream.applied(rig.client, [partition])
    await models.drop(rig.client, partition, ["session:s"])
    await models.fill(rig.client, partition, newest, "session:s", b"old")
    assert await rig.model("s") == b""
    await rig.put([make("b")])
    await rig.finish()
    row = (await rig.sessions())["s"]
    assert await rig.model("s") == encode(Session(**row))


async def test_after_a_flush_everything_is_read_again_and_counts_once(rig: Rig) -> None:
    first = [make(f"a{n}", session_id=f"s{n % 3}", flags=4) for n in range(30)]
    await rig.put(first)
    await rig.finish()
    await rig.client.flushdb()
    # The clients' retries, ids of ours among them, and something new.
    again = [*first[:20], make("new", session_id="s1")]
    await rig.put(again)
    await rig.finish()
    await rig.check([*first, make("new", session_id="s1")])
    assert not await rig.dead()


async def test_ids_below_the_position_are_read_in_a_redis_that_lost_data(rig: Rig) -> None:
    await rig.put([make("a", flags=4)])
    await rig.finish()
    await rig.client.flushdb()
    partition = rig.partition("session:s")
    records = [msgspec.msgpack.encode(a) for a in (make("a", flags=4), make("b", flags=4))]
    for n, record in enumerate(records):
        await rig.put_bytes(partition, stream.pack([record]), f"{n + 1}-0")
    await rig.finish()
    await rig.check([make("a"), make("b")])
    assert not await rig.dead()


async def test_ids_below_the_position_count_also_when_they_come_after_the_loss_was_seen(rig: Rig) -> None:
    await rig.put([make("a")])
    await rig.finish()
    await rig.client.flushdb()
    partition = rig.partition("session:s")
    seen = await rig.apply(partition, cursor=Cursor(partition, count=64))
    assert seen is not None
    assert (seen.entries, seen.position) == (0, stream.START)
    await rig.put_bytes(partition, stream.pack([msgspec.msgpack.encode(make("b"))]), "1-0")
    await rig.finish()
    await rig.check([make("a"), make("b")])


async def test_a_long_log_is_read_again_batch_by_batch_with_every_id_looked_up(rig: Rig) -> None:
    actions = [make(f"a{n}", flags=4, session_id=f"s{n % 2}") for n in range(300)]
    entries = [stream.pack([msgspec.msgpack.encode(action)]) for action in actions]
    own = [(rig.partition(action.subject), entry) for action, entry in zip(actions, entries, strict=True)]
    for n, (partition, entry) in enumerate(own[:200]):
        await rig.put_bytes(partition, entry, f"{n + 1}-0")
    await rig.finish()
    await rig.client.flushdb()
    for n, (partition, entry) in enumerate(own):
        await rig.put_bytes(partition, entry, f"{n + 1}-0")
    rig.settings = rig.settings.model_copy(update={"batch_actions": 16})
    await rig.finish()
    await rig.check(actions)


async def test_another_run_of_redis_is_not_believed(rig: Rig) -> None:
    await rig.put([make("a", flags=4)])
    await rig.finish()
    held = await rig.positions()
    partition = rig.partition("session:s")
    # What it had last is gone with the old process: an applied entry is there again, a model is of before.
    await rig.client.set(keys.model(partition, "session:s"), b"old")
    rig.server.run_id = "another"
    await rig.pool.execute("UPDATE partitions SET generation = split_part(generation, '/', 1) || '/before'")
    await rig.put_bytes(partition, stream.pack([msgspec.msgpack.encode(make("a", flags=4))]))
    fresh = connect.Server()
    client = connect.redis(rig.settings.log_url, server=fresh)
    rig.server = fresh
    await rig.finish(drain.Drain(rig.settings, rig.pool, client, fresh))
    await client.aclose()
    await rig.check([make("a")])
    assert all(new >= old for new, old in zip(await rig.positions(), held, strict=True))


async def test_after_a_restart_that_lost_nothing_the_applied_position_is_known_again(rig: Rig) -> None:
    await rig.put([make("a")])
    await rig.finish()
    held = await rig.positions()
    await rig.pool.execute("UPDATE partitions SET generation = generation || 'x'")
    await until(_applies_nothing(rig), "looked")
    assert await rig.positions() == held
    assert await stream.applied(rig.client, range(rig.settings.partitions)) == held


def _applies_nothing(rig: Rig) -> Callable[[], Any]:
    async def look() -> bool:
        for partition in range(rig.settings.partitions):
            await rig.apply(partition, cursor=Cursor(partition, count=64))
        return True

    return look


@pytest.mark.parametrize("change", ["generation", "run"])
async def test_nothing_is_trimmed_or_written_in_another_redis_than_was_read(rig: Rig, change: str) -> None:
    await rig.put([make("a")])
    partition = rig.partition("session:s")
    done = await rig.apply(partition)
    assert done is not None
    token, _, run = done.generation.partition("/")
    await rig.client.delete(keys.actions(partition))
    await rig.put_bytes(partition, b"", "1-1")  # new, and below the position
    other = f"x{token}/{run}" if change == "generation" else f"{token}/x{run}"
    await models.publish(rig.client, partition, other, done.position, dict(done.models), {})
    await models.forget(rig.client, partition, other, done.position, ["session:s"])
    assert await rig.client.xlen(keys.actions(partition)) == 1
    assert await rig.model("s") is None
    assert await stream.applied(rig.client, [partition]) == [stream.START]


async def test_a_trim_leaves_what_is_above_the_position(rig: Rig) -> None:
    first, second = await rig.put([make("a"), make("b")])
    partition = rig.partition("session:s")
    cursor = Cursor(partition, count=1)
    done = await rig.apply(partition, cursor=cursor)
    assert done is not None
    assert done.position == first
    await models.publish(rig.client, partition, done.generation, done.position, {}, {})
    assert [entry.position for entry in (await stream.read(rig.client, partition, stream.START, 10))[1]] == [second]
