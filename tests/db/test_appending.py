"""The log's appending side on real servers: one flush for all, all or none, and no answer before what is promised."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from db import appending, connect, keys, ports, promises, stream, valkey_server
from db.appending import BacklogFull, Log, Unavailable
from db.promises import Misconfigured
from db.settings import Durability

PARTITIONS = 4


@asynccontextmanager
async def opened(client: Redis, limit: int = 1 << 30) -> AsyncIterator[Log]:
    """A log that takes actions."""
    log = Log(client, PARTITIONS, limit)
    log.refusal = None
    log.start()
    yield log
    await log.stop()


@contextmanager
def valkey(folder: Path, *words: str) -> Iterator[str]:
    """A server of its own with these settings; its URL."""
    port = ports.free()
    folder.mkdir(exist_ok=True)
    fixed = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "")
    process = subprocess.Popen(
        [valkey_server._binary(), *fixed, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


async def ready(url: str) -> Redis:
    """A client, once the server answers."""
    client = connect.redis(url)
    async with asyncio.timeout(60):
        while True:
            try:
                await client.ping()
                return client
            except (RedisError, OSError):
                await asyncio.sleep(0.01)


async def records(client: Redis, partition: int) -> list[list[bytes]]:
    """The records of every entry, undone as they were packed."""
    _, found = await stream.read(client, partition, stream.START, 10_000)
    return [_unpack(entry.body) for entry in found]


def _unpack(body: bytes) -> list[bytes]:
    return [bytes(record) for record in msgspec.msgpack.decode(body, type=list[msgspec.Raw])]


def record(number: int, size: int = 0) -> bytes:
    """A MessagePack record that says its number."""
    return msgspec.msgpack.encode([number, b"x" * size])


# Flushes.


async def test_all_callers_of_a_turn_go_out_in_one_flush(redis: Redis) -> None:
    async with opened(redis) as log:
        sent: list[int] = []
        original = log._flush

        async def flush(entries: list[tuple[int, list[bytes]]]) -> list[str]:
            sent.append(len(entries))
            return await original(entries)

        log._flush = flush  # type: ignore[method-assign]
        texts = await asyncio.gather(*(log.append([(n % 2, record(n))]) for n in range(100)))
    assert sent == [2]
    assert len(set(texts)) == 2
    assert await records(redis, 0) == [[record(n) for n in range(0, 100, 2)]]
    assert await records(redis, 1) == [[record(n) for n in range(1, 100, 2)]]


async def test_what_comes_during_a_flush_goes_with_the_next_and_in_order(redis: Redis) -> None:
    async with opened(redis) as log:
        futures = []
        for n in range(300):
            futures.append(log.append([(n % 3, record(n))]))
            if n % 7 == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*futures)
    for partition in range(3):
        found = [one for entry in await records(redis, partition) for one in entry]
        assert found == [record(n) for n in range(300) if n % 3 == partition]


async def test_entries_stay_near_64_kib_and_callers_get_the_last_of_each_partition(redis: Redis) -> None:
    async with opened(redis) as log:
        many = log.append([(n % 2, record(n, 10_000)) for n in range(40)])
        large = log.append([(2, record(0, 200_000)), (2, record(1))])
        small = log.append([(0, record(99))])
        texts = await asyncio.gather(many, large, small)
    for partition, count in ((0, 21), (1, 20)):
        _, found = await stream.read(redis, partition, stream.START, 1000)
        assert max(len(entry.body) for entry in found) <= appending.ENTRY_BYTES + 100
        assert sum(len(_unpack(entry.body)) for entry in found) == count
    ends = [str((await stream.read(redis, partition, stream.START, 1000))[1][-1].position) for partition in range(3)]
    assert list(texts) == [f"0.{ends[0]},1.{ends[1]}", f"2.{ends[2]}", f"0.{ends[0]}"]
    assert len(await records(redis, 2)) == 2


async def test_no_records_need_no_flush(redis: Redis) -> None:
    async with opened(redis) as log:
        log.waits = [("WAIT", 1, 10)]
        assert await log.append([]) == ""


async def test_stopping_lets_out_what_was_appended_and_refuses_the_rest(redis: Redis) -> None:
    async with opened(redis) as log:
        waiting = [log.append([(n % 4, record(n))]) for n in range(50)]
    assert all([await future for future in waiting])
    with pytest.raises(Unavailable, match="shutting down"):
        log.append([(0, record(1))])
    assert sum([len(entry) for n in range(4) for entry in await records(redis, n)]) == 50


# Failures.


async def test_a_failed_flush_is_told_to_every_caller_and_the_next_one_works(tmp_path: Path) -> None:
    with valkey(tmp_path / "one") as url:
        client = await ready(url)
        async with opened(client) as log:
            await log.append([(0, record(0))])
            await client.client_pause(60_000, all=False)
            waiting = [log.append([(n % 3, record(n))]) for n in range(10)]
            while all("b" not in one["flags"] for one in await client.client_list()):  # noqa: ASYNC110 - Redis is asked
                await asyncio.sleep(0)
            await client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # type: ignore[no-untyped-call]
            answers = await asyncio.gather(*waiting, return_exceptions=True)
            await client.client_unpause()
            assert all(isinstance(answer, Unavailable) for answer in answers)
            assert await log.append([(0, record(1))])
        await client.aclose()


async def test_a_connection_that_was_closed_between_two_flushes_costs_no_request(redis: Redis) -> None:
    async with opened(redis) as log:
        await log.append([(0, record(0))])
        await redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # type: ignore[no-untyped-call]
        while not log._wire._answers.lost:  # noqa: ASYNC110 - the loop has to turn
            await asyncio.sleep(0)
        assert await log.append([(0, record(1))])


async def test_a_key_of_the_wrong_type_refuses_and_does_not_end_the_log(redis: Redis) -> None:
    await redis.set(keys.actions(1), "not a stream")
    async with opened(redis) as log:
        answers = await asyncio.gather(
            log.append([(0, record(0))]), log.append([(1, record(1))]), return_exceptions=True
        )
        assert all(isinstance(answer, Unavailable) for answer in answers)
        assert (await log.append([(2, record(2))])).startswith("2.")
        with pytest.raises(Unavailable):
            await log.append([(1, record(1))])
        assert await log.append([(0, record(0))])


async def test_a_full_redis_takes_all_of_a_flush_or_nothing(tmp_path: Path) -> None:
    with valkey(tmp_path / "one") as url:
        client = await ready(url)
        async with opened(client) as log:
            await client.config_set("maxmemory", "1")
            answers = await asyncio.gather(
                *(log.append([(n % 3, record(n))]) for n in range(9)),
                log.append([(0, record(9))]),
                return_exceptions=True,
            )
            assert {type(answer) for answer in answers} == {BacklogFull}
            with pytest.raises(BacklogFull):
                await log.append([(0, record(0))])
            await client.config_set("maxmemory", "0")
            assert [await client.xlen(keys.actions(n)) for n in range(3)] == [0, 0, 0]
            assert await log.append([(0, record(0))])
        await client.aclose()


async def test_the_bound_of_the_backlog_refuses_before_anything_is_sent(redis: Redis) -> None:
    async with opened(redis, limit=10_000) as log:
        await log.append([(0, record(0, 20_000))])
        with pytest.raises(BacklogFull):
            log.append([(0, record(1))])
    assert await redis.xlen(keys.actions(0)) == 1


# Durability.


@pytest.mark.parametrize(
    ("words", "durability", "waits"),
    [
        ((), "memory", []),
        (("--appendonly", "yes", "--appendfsync", "always"), "fsync", []),
        (("--maxmemory-policy", "allkeys-lru"), "memory", None),
        (("--appendonly", "no"), "fsync", None),
        (("--appendonly", "no"), "replica", None),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_a_promise_demands_of_redis(
    tmp_path: Path, words: tuple[str, ...], durability: Durability, waits: list[tuple[str | int, ...]] | None
) -> None:
    with valkey(tmp_path / "one", *words) as url:
        client = await ready(url)
        if waits is None:
            with pytest.raises(Misconfigured, match=r"CONFIG SET|appendonly"):
                await promises.demand(client, durability)
        else:
            assert await promises.demand(client, durability) == waits
            async with opened(client) as log:
                log.waits = waits
                assert await log.append([(0, record(0))])
                assert await log.append([(0, record(1)), (1, record(2))])
        await client.aclose()


async def test_what_is_not_synced_at_once_is_waited_for_or_refused(tmp_path: Path) -> None:
    with valkey(tmp_path / "one", "--appendonly", "yes", "--appendfsync", "everysec") as url:
        client = await ready(url)
        if b"waitaof" in await client.execute_command("COMMAND LIST"):  # type: ignore[no-untyped-call]
            waits = await promises.demand(client, "fsync")
            assert waits == [("WAITAOF", 1, 0, promises.WAIT_MS)]
            async with opened(client) as log:
                log.waits = waits
                assert await log.append([(0, record(0)), (1, record(1))])
        else:
            with pytest.raises(Misconfigured, match=r"appendfsync always, or a Redis >= 7\.2"):
                await promises.demand(client, "fsync")
        await client.aclose()


async def test_a_replica_must_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promises, "WAIT_MS", 200)
    aof = ("--appendonly", "yes", "--appendfsync", "always")
    with valkey(tmp_path / "one", *aof) as url:
        client = await ready(url)
        async with opened(client) as log:
            log.waits = await promises.demand(client, "replica")
            with pytest.raises(Unavailable, match="durable"):
                await log.append([(0, record(0))])
            with valkey(
                tmp_path / "two", "--replicaof", "127.0.0.1", url.rsplit(":", 1)[1].removesuffix("/0")
            ) as other:
                replica = await ready(other)
                async with asyncio.timeout(60):
                    while (await replica.info("replication"))["master_link_status"] != "up":  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                log.waits = [("WAIT", 1, 5000)]
                await log.append([(0, record(1))])
                assert await replica.xlen(keys.actions(0)) == 2
                await replica.aclose()
        await client.aclose()


async def test_where_config_is_forbidden_the_promise_is_believed(tmp_path: Path) -> None:
    with valkey(tmp_path / "one") as url:
        client = await ready(url)
        await client.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-config")  # type: ignore[no-untyped-call]
        app = connect.redis(url.replace("redis://", "redis://app:pw@"))
        assert await promises.demand(app, "fsync") == []
        assert await promises.demand(app, "replica") == [("WAIT", 1, promises.WAIT_MS)]
        await app.aclose()
        await client.aclose()
