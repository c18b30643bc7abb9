"""Redis Cluster on three real servers: each command where its slot is, wherever that goes; a node that is away."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ClusterError, RedisError

from db import connect, keys, lanes, live, models, ports, promises, slots, stream
from db.appending import Log, Unavailable
from db.cluster import Cluster
from db.promises import Misconfigured
from db.settings import Settings
from db.stream import START
from tests import nodes
from tests.db.test_appending import ready, valkey
from tests.nodes import Nodes, until

PARTITIONS = 8
GIVEN_UP = 6.0
"""Seconds after which a server has given up a failover by hand that found no majority, and says so in its log alone."""
OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nodes]:
    async with nodes.running(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
async def client(cluster: Nodes) -> AsyncIterator[Redis]:
    async with connect.redis(cluster.url) as made:
        yield made
    for node in cluster.nodes:
        await node.client.flushall()


@pytest.fixture
async def log(client: Redis) -> AsyncIterator[Log]:
    made = lanes.log(client, PARTITIONS, 1 << 30)
    made.waits, made.refusal = await promises.demand(client, "fsync"), None
    made.start()
    yield made
    await made.stop()


async def record_of(client: Redis, partition: int) -> list[bytes]:
    """What the entries of a partition hold, in order."""
    _, found = await stream.read(client, partition, START, 10_000)
    return [entry.body[5:] for entry in found]


def test_the_url_of_a_cluster() -> None:
    seeds, node = slots.parse("rediss+cluster://me:se%40cret@one:7000,[::1]:7001,three?ssl_cert_reqs=none")
    assert seeds == [("one", 7000), ("::1", 7001), ("three", 6379)]
    assert node(("::1", 7001)) == "rediss://me:se%40cret@[::1]:7001/0?ssl_cert_reqs=none"
    for wrong in ("redis+cluster://one:7000/3", "redis+cluster://one,,two", "redis+cluster://one:x"):
        with pytest.raises(ValueError, match=r"cluster looks like|Port"):
            slots.parse(wrong)
    with pytest.raises(ValueError, match="arq speaks to one Redis"):
        Settings(_env_file=None, redis_url="redis+cluster://one:7000")
    with pytest.raises(ValueError, match="cluster looks like"):
        Settings(_env_file=None, stream_url="redis+cluster://one:7000/3")


async def test_a_seed_that_is_dead_or_has_left_does_not_block_a_start(cluster: Nodes, tmp_path: Path) -> None:
    with valkey(tmp_path / "left", "--cluster-enabled", "yes", "--cluster-port", str(ports.free())) as left:
        await (await ready(left)).aclose()
        host = left.removeprefix("redis://").removesuffix("/0")
        async with connect.redis(cluster.url.replace("://", f"://127.0.0.1:{ports.free()},{host},")) as client:
            assert await promises.demand(client, "fsync") == []


async def test_every_master_is_looked_at(cluster: Nodes, client: Redis, tmp_path: Path) -> None:
    last = cluster.nodes[-1]
    for name, wrong, right, said in (
        ("maxmemory-policy", "allkeys-lru", "noeviction", "evicts keys"),
        ("appendonly", "no", "yes", "appendonly yes"),
    ):
        await last.client.config_set(name, wrong)
        with pytest.raises(Misconfigured, match=said):
            await promises.demand(client, "fsync")
        await last.client.config_set(name, right)
    await last.client.config_set("appendfsync", "everysec")
    if (await last.client.info("server"))["redis_version"].startswith("7.0."):
        with pytest.raises(Misconfigured, match="WAITAOF"):
            await promises.demand(client, "fsync")
    else:
        assert await promises.demand(client, "fsync") == [("WAITAOF", 1, 0, promises.WAIT_MS)]
    await last.client.config_set("appendfsync", "always")
    assert await promises.demand(client, "fsync") == []
    with pytest.raises(Misconfigured, match="redis\\+cluster://"):
        await promises.demand(last.client, "fsync")
    with valkey(tmp_path / "plain") as url:
        await (await ready(url)).aclose()
        async with connect.redis(url.replace("redis://", "redis+cluster://")) as plain:
            with pytest.raises(Misconfigured, match="cluster support disabled"):
                await promises.demand(plain, "memory")


async def test_commands_of_many_slots_and_large_requests(client: Redis, log: Log) -> None:
    records = [(partition, b"\xc4\x01" + bytes([partition])) for partition in range(PARTITIONS)]
    position = await log.append(records)
    assert [part.partition(".")[0] for part in position.split(",")] == [str(number) for number in range(PARTITIONS)]
    for partition, record in records:
        assert await record_of(client, partition) == [record]
    long = b"\xc5\xa0\x00" + bytes(40_960)
    assert (await log.append([(3, long), (3, long), (3, long)])).startswith("3.")
    assert await record_of(client, 3) == [records[3][1], long, long, long]
    assert await client.mget(*(f"one-{number}" for number in range(20))) == [None] * 20
    await asyncio.gather(*(client.set(keys.model(number, "session:a"), b"x") for number in range(PARTITIONS)))
    await models.forget_all(client, 3)
    held = await client.mget([keys.model(number, "session:a") for number in range(PARTITIONS)])
    assert held == [None if number == 3 else b"x" for number in range(PARTITIONS)]
    assert await client.delete(*(keys.model(number, "session:a") for number in range(PARTITIONS))) == PARTITIONS - 1
    with pytest.raises(ValueError, match="each node"):
        await client.dbsize()


async def test_a_slot_that_moves_takes_everything_along(cluster: Nodes, client: Redis, log: Log) -> None:
    """While it moves a key at a time, appends and reads of one key go on; what needs all of its keys has to wait."""
    slot, server = slots.of_partition(3), connect.Server()
    shared = lanes.shared(client)
    shared.start()
    source = await cluster.owner(slot)
    target = next(node for node in cluster.nodes if node is not source)
    async with connect.redis(cluster.url, server=server) as worker:
        await log.append([(3, b"\x01")])
        before, found = await stream.read(worker, 3, START, 10, server)
        await models.publish(client, 3, before, START, {"session:a": b"old"}, {})
        await cluster.begin_move(slot, target)
        await source.ask("MIGRATE", "127.0.0.1", target.port, keys.actions(3), 0, 5000)
        long = b"\xc5\xa0\x00" + bytes(40_960)
        await log.append([(3, b"\x02"), (3, long), (3, long), (7, b"\x07")])
        assert sum(map(len, await record_of(worker, 3))) == 2 + 2 * len(long)
        assert await shared.get(keys.model(3, "session:a")) == b"old"
        with pytest.raises(ClusterError, match="is being moved"):
            await models.fill(client, 3, found[0].position, "session:b", b"x")
        await cluster.finish_move(slot, source, target)
        assert await shared.get(keys.model(3, "session:a")) == b"old"
        await log.append([(3, b"\x03")])
        held = await record_of(worker, 3)
        assert (held[0], held[-1], sum(map(len, held))) == (b"\x01", b"\x03", 3 + 2 * len(long))
        after, _ = await stream.read(worker, 3, START, 10, server)
        assert after.split("/")[0] == before.split("/")[0]
        assert after.split("/")[1] == (await target.client.info("server"))["run_id"] != before.split("/")[1]
    await shared.stop()


async def test_a_node_that_is_away_holds_up_nobody_else(cluster: Nodes, client: Redis, log: Log) -> None:
    slot = slots.of_partition(0)
    gone = await cluster.owner(slot)
    held = [number for number in range(PARTITIONS) if await cluster.owner(slots.of_partition(number)) is gone]
    other = next(number for number in range(PARTITIONS) if number not in held)
    await log.append([(number, b"\x01") for number in range(PARTITIONS)])
    (tip,) = await live.keep(client, [(other, "user:b")])
    gone.kill()
    try:
        with pytest.raises(Unavailable):
            await log.append([(held[0], b"\x02")])
        with pytest.raises(Unavailable):
            await log.append([(held[0], b"\x03"), (other, b"\x03")])
        assert (await log.append([(other, b"\x04")])).startswith(f"{other}.")
        assert await stream.backlog(client, PARTITIONS) > 0
        with pytest.raises((RedisError, OSError)):
            await stream.size(client, PARTITIONS)
        await live.publish(client, other, [("user:b", "progress", b"{}")])
        nothing, new = await live.since(client, [(held[0], "user:a", START), (other, "user:b", tip)])
        assert (nothing, [one.event for one in new or ()]) == ([], ["progress"])
        with pytest.raises((RedisError, OSError)):
            await live.since(client, [(held[0], "user:a", START)])
        assert isinstance(client, Cluster)
        assert client.map.unchecked
    finally:
        gone.start()
        await gone.answers()
        await cluster.settled()
    await until(lambda: _takes(log, held[0], b"\x05"))
    assert (await record_of(client, held[0]))[:1] == [b"\x01"]
    assert (await record_of(client, held[0]))[-1] == b"\x05"
    assert [one for one in await record_of(client, other) if one != b"\x03"] == [b"\x01", b"\x04"]


async def _takes(log: Log, partition: int, record: bytes) -> bool:
    try:
        await log.append([(partition, record)])
    except Unavailable:
        return False
    return True


async def test_all_keys_of_a_partition_lie_on_one_slot_and_half_of_them_on_each_of_two_nodes() -> None:
    for number in range(512):
        held = (keys.actions, keys.generation, keys.applied, keys.listened)
        wanted = {slots.of_key(key(number)) for key in held}
        wanted |= {slots.of_key(keys.model(number, "session:{x}")), slots.of_key(keys.live(number, "user:{y}"))}
        assert wanted == {slots.of_partition(number)}
    assert sorted(slots.of_partition(number) * 4 // slots.NUMBER for number in range(8)) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_operators_are_told_the_slots() -> None:
    said = OPERATIONS.split("**Partitions on nodes.**")[1].split("**While a node is away**")[0]
    rows = [[int(cell) for cell in re.findall(r"\d+", line)] for line in said.split("\n") if line.startswith("|")]
    partitions, held = (row for row in rows if row)
    assert held == [slots.of_partition(number) for number in partitions] == sorted(held)
    assert sorted(partitions) == list(range(8))
    assert "0 to 7799, 7800 to 11899 and 11900 to 16383" in said
    assert nodes.PARTED == (0, 7800, 11_900, 16_384)


async def test_a_replica_that_takes_over_in_peace_costs_nobody_an_answer(tmp_path: Path) -> None:
    """Who was the master says where the slots are, and that it can wait for nobody."""
    async with nodes.running(tmp_path, replicas=True) as cluster, connect.redis(cluster.url) as client:
        log = lanes.log(client, PARTITIONS, 1 << 30)
        log.waits, log.refusal = await promises.demand(client, "replica"), None
        assert log.waits
        log.start()
        await log.append([(0, b"\x01")])
        slot = slots.of_partition(0)
        gone = await cluster.owner(slot)
        replica = cluster.nodes[cluster.nodes.index(gone) + nodes.NODES]
        asked = 0.0

        async def is_replica() -> bool:
            nonlocal asked
            if time.monotonic() - asked > GIVEN_UP:
                await replica.ask("CLUSTER", "FAILOVER")
                asked = time.monotonic()
            return bool((await gone.client.info("replication"))["role"] == "slave")

        await until(is_replica)
        await cluster.settled()
        await log.append([(0, b"\x02"), (0, b"\x03")])
        await log.append([(0, b"\x04")])
        assert b"".join(await record_of(client, 0)) == b"\x01\x02\x03\x04"
        await log.stop()
