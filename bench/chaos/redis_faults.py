"""Scenarios of the log: a full Redis, a full backlog, a Redis that lost its data, one that counts anew."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from typing import Final

import msgspec

from bench.chaos import check
from bench.chaos.ledger import Body, subject
from bench.chaos.stage import Figures, Stage, demand, stage, until
from bench.chaos.system import PARTITIONS
from db import keys, stream
from jobs import catalog, door
from jobs.action import Draft, Sender
from jobs.families import KINDS

HEADROOM: Final = 2 << 20
"""Bytes above what Redis holds: the read models of the sessions must not fill it, actions must."""
SERVICE: Final = Sender("chaos", "service", frozenset(("ingest",)))


def record(body: Body) -> bytes:
    """An action as the API would put it into the log."""
    draft = msgspec.json.decode(msgspec.json.encode(body), type=Draft)
    return msgspec.msgpack.encode(door.accept(draft, KINDS, SERVICE, datetime.now(UTC), catalog.default()))


def partition(body: Body) -> int:
    """Where it belongs."""
    return stream.partition_of(subject(body) or "", PARTITIONS)


async def memory_bound(short: bool) -> Figures:
    """Redis at its memory bound: 503 with Retry-After, nothing lost; a worker drains it without more memory."""
    async with stage() as s:
        await s.post(20)
        await s.system.halt("worker-1")
        used = int((await s.redis.info("memory"))["used_memory"])
        await s.redis.config_set("maxmemory", used + HEADROOM)
        retry_after = await s.refused("backlog_full", 60)
        acknowledged = s.ledger.acknowledged
        s.system.launch("worker-1")
        drained = await check.drained(s.system)
        await until(lambda: _accepts(s), "accepted again once it is drained")
        await s.redis.config_set("maxmemory", 0)
        await s.post(20 if short else 200)
        return {
            "acknowledged at the bound": acknowledged,
            "Retry-After": retry_after,
            "full Redis drained after": drained,
        } | (await s.settled())


async def _accepts(s: Stage) -> bool:
    request = s.crowd.request(1, named=True, waits=False)
    s.ledger.sending(request.bodies[0])
    return await s.producer.attempt(request)


async def backlog_bound(short: bool) -> Figures:
    """The backlog at its bound with all workers stopped: 503 backlog_full, then drained, then accepted again."""
    limit = 1 << (17 if short else 20)
    async with stage(env={"MILEPOST_BACKLOG_LIMIT": str(limit)}) as s:
        await s.post(5)
        await s.system.halt("worker-1")
        retry_after = await s.refused("backlog_full", 60)
        held = sum(await stream.size(s.redis, PARTITIONS))
        demand(held < 4 * limit + (1 << 20), f"{held} bytes are held, and the bound is {limit}")
        s.system.launch("worker-1")
        await check.drained(s.system)
        await s.post(10)
        return {"bound": limit, "held": held, "Retry-After": retry_after} | await s.settled()


async def lost_data(short: bool) -> Figures:
    """Redis is emptied: said loudly, what follows is applied, what is sent again counts once."""
    async with stage(workers=2) as s:
        requests = [s.crowd.request(5, named=True, waits=False) for _ in range(20 if short else 100)]
        for request in requests:
            await s.producer.deliver(request)
        await check.drained(s.system)
        for name in ("worker-1", "worker-2"):
            await s.system.halt(name)
        before = set(s.ledger.acked)
        await s.post(10)
        lost = frozenset(s.ledger.acked - before)
        await s.redis.flushall()
        s.system.launch("worker-1")
        s.system.launch("worker-2")
        await s.post(20)
        for request in requests:
            await s.producer.deliver(request)
        figures = await s.settled(lost=lost)
        await _loudly(s)
        return figures | {"acknowledged and lost": len(lost), "rereads": await s.metric("milepost_rereads_total")}


async def counts_anew(short: bool) -> Figures:
    """Redis comes back empty with a clock far behind: ids below the old position are applied all the same."""
    async with stage() as s:
        await s.post(20 if short else 100)
        await check.drained(s.system)
        if not short:
            await s.system.halt("worker-1")
        folder = s.system.state.path / "valkey" / "appendonlydir"
        await s.system.restart_server("valkey", lambda: shutil.rmtree(folder))
        for number in range(1, 40):
            body = s.crowd.action()
            s.ledger.sending(body)
            key = keys.actions(partition(body))
            await s.redis.xadd(key, {"b": stream.pack([record(body)])}, id=f"{1000 + number}-0")
            s.ledger.acked.add(body["id"])
        if not short:
            s.system.launch("worker-1")
        figures = await s.settled()
        await _loudly(s)
        await s.post(20)
        return figures | await s.settled() | {"rereads": await s.metric("milepost_rereads_total")}


async def _loudly(s: Stage) -> None:
    rereads = await s.metric("milepost_rereads_total")
    demand(rereads >= 1, "milepost_rereads_total is 0 after Redis lost data")
    said = "".join(s.system.log(name) for name in s.system.names if name.startswith("worker"))
    demand("lost data" in said, "no worker said that Redis lost data")
