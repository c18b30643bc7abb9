"""The drain on a whole log: poison, missing days, faults that pass, rivals, a Redis that lost data, caches, waiters."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
import structlog
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisGone

from db import connect, keys, models, stream
from jobs.action import Action
from jobs.tracking.session import Session
from jobs.tracking.states import encode
from tests.jobs.making import NOW, START, make
from tests.worker import rig as rigs
from tests.worker.rig import Rig, until
from worker import apply, batch, drain
from worker.batch import Cursor

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


def poison(action_id: str, **ids: Any) -> Action:
    """An action that only Postgres refuses: its flags do not fit into a smallint."""
    return make(action_id, flags=1 << 20, **ids)


# Poison.


@pytest.mark.parametrize("bad", [{0}, {9}, {19}, {0, 19}, {3, 4, 5, 11}, set(range(20))], ids=str)
async def test_poison_goes_to_the_dead_letters_and_the_rest_is_applied(rig: Rig, bad: set[int]) -> None:
    sent = [poison(f"a{n:02}") if n in bad else make(f"a{n:02}") for n in range(20)]
    await rig.put(sent, size=7)
    await rig.finish()
    await rig.check([action for n, action in enumerate(sent) if n not in bad])
    assert await rig.dead() == [(f"a{n:02}", "poison") for n in sorted(bad)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"kind": "nobody.knows"}, "unknown_kind"),
        ({"data": b"[]"}, "invalid_data"),
        ({"data": b'{"eventType":"click","category":"a\\u0000b"}'}, "poison"),
        ({"data": b'{"eventType":"click","category":"a","elementId":"\\ud800"}'}, "invalid_data"),
        ({"id": "a\0b"}, "poison"),
        (
            {"id": secrets.token_hex(4500)},
            "poison",
        ),  # an index entry holds 2,704 bytes: Postgres calls that a program limit
        ({"at": START.replace(year=1, month=1, day=1), "subject": "user:u"}, None),
        ({"received_at": NOW + 100 * DAY}, "poison"),
        ({"received_at": NOW.replace(year=1)}, "poison"),
        ({"received_at": NOW.replace(year=9999)}, "poison"),
        (
            {"kind": "event.tracked", "data": b'{"event":"e","properties":' + b"[" * 9000 + b"]" * 9000 + b"}"},
            "invalid_data",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else str(value),
)
async def test_what_the_door_should_have_stopped_harms_nobody(
    rig: Rig, change: dict[str, Any], code: str | None
) -> None:
    bad = msgspec.structs.replace(make("bad"), **change)
    good = [make(f"a{n}") for n in range(4)]
    await rig.put_bytes(
        rig.partition("session:s"), stream.pack([msgspec.msgpack.encode(a) for a in (*good[:2], bad, *good[2:])])
    )
    await rig.finish()
    assert await rig.fetch("SELECT interactions FROM user_sessions WHERE session_id = 's'") == [4]
    assert [dead for _, dead in await rig.dead()] == ([code] if code else [])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        stream.pack([b"\xc1"]),
        stream.pack([msgspec.msgpack.encode({"not": "an action"})]),
        stream.pack([msgspec.msgpack.encode(["a", "page.viewed", "session:s", "2026-01-01T00:00:00", 1, 0, b"{}"])]),
        b"\x91" * 100_000,
    ],
    ids=["empty", "not MessagePack", "in it", "a map", "a time without offset", "deep"],
)
async def test_an_entry_that_is_none_is_buried_and_its_neighbours_applied(rig: Rig, body: bytes) -> None:
    partition = rig.partition("session:s")
    await rig.put([make("before")])
    await rig.put_bytes(partition, body)
    await rig.put([make("after")])
    await rig.finish()
    await rig.check([make("before"), make("after")])
    assert await rig.dead() == [("", "undecodable")]


async def test_500_poisons_in_a_row_do_not_stop_the_partition(rig: Rig) -> None:
    rig.settings = rig.settings.model_copy(update={"apply_timeout": 10.0})
    await rig.put([poison(f"p{n}") for n in range(600)] + [make("good")], size=30)
    await rig.finish()
    await rig.check([make("good")])
    assert len(await rig.dead()) == 600


async def test_dead_letters_of_a_batch_that_are_alike_are_one_line_of_the_log(rig: Rig) -> None:
    await rig.put([poison(f"p{n}") for n in range(20)], size=20)
    with structlog.testing.capture_logs() as logged:
        await rig.finish()
    told = [(line["number"], line["code"]) for line in logged if line["event"] == "actions went to the dead letters"]
    assert told == [(20, "poison")]


async def test_a_batch_that_isolates_is_small(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "ISOLATED", 20)
    sizes: list[int] = []
    original = apply.isolate

    async def isolate(conn: asyncpg.Connection, items: Sequence[apply.Item], *rest: Any) -> None:
        sizes.append(len(items))
        await original(conn, items, *rest)

    monkeypatch.setattr(apply, "isolate", isolate)
    await rig.put([poison(f"p{n}") for n in range(60)], size=5)
    await rig.finish()
    assert max(sizes) == 20
    assert len(await rig.dead()) == 60


async def test_a_batch_that_never_fits_into_its_time_becomes_smaller(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    original = apply.record

    async def record(conn: asyncpg.Connection, items: Sequence[apply.Item], *rest: Any) -> apply.Applied:
        if len(items) > 5:
            raise TimeoutError
        return await original(conn, items, *rest)

    monkeypatch.setattr(apply, "record", record)
    actions = [make(f"a{n}") for n in range(40)]
    await rig.put(actions)
    await rig.finish()
    await rig.check(actions)


async def test_who_waits_for_poison_is_told(rig: Rig) -> None:
    async with rig.client.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(keys.REPLY_CHANNEL + "api")
        await channel.get_message(timeout=1)
        ours = make("a", reply="api:1", user_id="u")
        sent = [
            ours,
            make("a", reply="api:2", user_id="u"),
            msgspec.structs.replace(poison("p", user_id="u"), reply="api:3"),
        ]
        await rig.put(sent, size=3)
        await rig.finish()
        await rig.put([make("a", reply="api:4", user_id="u")])
        await rig.finish()
        told: list[Any] = []
        while len(told) < 4:
            message = await channel.get_message(timeout=5)
            assert message is not None
            told += msgspec.json.decode(message["data"])
    session = {"sessionId": f"auto:user:u@{int(START.timestamp() * 1000)}"}
    assert sorted(told) == [
        ["1", session, False],
        ["2", session, True],
        ["3", {"error": "dead_letter"}, False],
        ["4", session, True],
    ]


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
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
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
    owner: Any = {"_apply": batch, "bury": apply, "read": stream}.get(step, models)
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


# Caches.


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
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


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


# A Redis that lost data.


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


# Rivals.


async def test_three_drains_share_the_partitions_and_count_once(rig: Rig) -> None:
    async with rigs.rig(rig.settings) as second, rigs.rig(rig.settings) as third:
        actions = [make(f"a{n}", session_id=f"s{n % 40}", at=START + n * MINUTE / 60) for n in range(900)]
        tasks = [asyncio.create_task(own.drain().run()) for own in (rig, second, third)]
        for begin in range(0, 900, 90):
            await rig.put(actions[begin : begin + 90], size=5)
        await until(rig.is_done, "all is applied")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
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
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
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

    def count(self: drain.Drain, done: apply.Applied, seconds: float) -> None:
        seen.append(len(done.items))
        original(self, done, seconds)

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
