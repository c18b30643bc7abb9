"""Scenarios of the drain: poison, a frozen worker that holds a partition, stops under load."""

from __future__ import annotations

import asyncio
import random
import signal
import statistics
import time
from typing import Final

import msgspec

from bench.chaos import check
from bench.chaos.command import command
from bench.chaos.faults import Chaos
from bench.chaos.redis_faults import partition, record
from bench.chaos.stage import Figures, Stage, demand, stage, until
from bench.chaos.system import Violation
from bench.chaos.watch import Watch
from db import keys, stream

POISON: Final = "poison"
TAKEN_OVER: Final = 25.0
"""Seconds: the transaction's idle time-out of 10, or the 15 after which a stalled COPY is ended, and some more."""


async def poison(short: bool) -> Figures:
    """Poison at the head of a partition: dead letters with their reasons, those behind it at once; a retry works."""
    async with stage() as s:
        await s.post(5)
        await check.drained(s.system)
        await s.system.halt("worker-1")
        conn = await s.system.conn()
        try:
            await conn.execute(
                f"ALTER TABLE interaction_events ADD CONSTRAINT refused CHECK (element_id IS DISTINCT FROM '{POISON}')"
            )
            refused = await _append_poison(s)
            await s.post(20 if short else 200)
            s.system.launch("worker-1")
            await check.drained(s.system, 20)
            codes = dict(await conn.fetch("SELECT code, count(*) FROM dead_letters GROUP BY 1"))
            demand(
                codes == {"undecodable": 2, "unknown_kind": 1, "invalid_data": 1, "poison": 2}, f"dead letters: {codes}"
            )
            reasons = await conn.fetchval("SELECT count(*) FROM dead_letters WHERE message = ''")
            demand(reasons == 0, "dead letters without a reason")
            await conn.execute("ALTER TABLE interaction_events DROP CONSTRAINT refused")
            code, said = await command(s.system, "jobs", "dead", "retry", "--all", "--code", "poison")
            s.ledger.acked.add(refused)
            await until(lambda: _applied(s, refused), f"the retried action is applied; dead retry ({code}) said {said}")
        finally:
            await conn.close()
        figures = await s.settled(dead=7)
        return figures | {"dead letters": codes, "exit code of dead retry": code}


async def _append_poison(s: Stage) -> str:
    """By hand, past the door, at the head of every partition; the id of the one that can be retried."""
    body = s.crowd.action() | {
        "kind": "interaction.recorded",
        "data": {"eventType": "click", "category": "paint", "elementId": POISON},
    }
    s.ledger.sending(body)
    number = partition(body)
    good = s.crowd.action()
    while partition(good) != number:
        good = s.crowd.action()
    s.ledger.sending(good)
    s.ledger.acked.add(good["id"])
    nul = body | {"id": "nul", "data": body["data"] | {"category": "a\\u0000b"}}
    action = msgspec.msgpack.decode(record(body | {"id": "hand"}))
    unknown, invalid = list(action), list(action)
    unknown[1], invalid[6] = "nobody.knows", b'{"eventType":"dance"}'
    escaped = msgspec.msgpack.decode(record(nul))
    escaped[6] = escaped[6].replace(b"\\\\u0000", b"\\u0000")
    encode = msgspec.msgpack.encode
    entries = [
        b"\xc1not msgpack",
        stream.pack([encode(unknown), encode(invalid), b"\xa3abc", record(body), encode(escaped), record(good)]),
    ]
    for content in entries:
        await s.redis.xadd(keys.actions(number), {"b": content})
    return str(body["id"])


async def _applied(s: Stage, action_id: str) -> bool:
    conn = await s.system.conn()
    try:
        return bool(await conn.fetchval("SELECT count(*) FROM interaction_events WHERE id = $1", action_id))
    finally:
        await conn.close()


async def frozen_worker(short: bool) -> Figures:
    """A worker stops inside a transaction: another one takes over in time; waking up, it does no harm."""
    async with stage(workers=2, rate=60) as s, Watch(s.system) as watch:
        chaos = Chaos(s.system, random.Random(s.crowd.seed))
        for _ in range(1 if short else 3):
            await asyncio.sleep(1)
            await chaos.freeze(20.0 if short else 30.0)
        demand(bool(chaos.faults), "no worker was ever caught with a transaction open")
        await s.producer.finish()
        await s.system.answering()
        figures = await s.settled()
        took = [seconds for fault in chaos.faults for seconds in watch.takeovers(fault.at)]
        demand(max(took) < TAKEN_OVER, f"a partition stood still for {max(took):.1f} s")
        return figures | {"p50 s": round(statistics.median(took), 2), "max s": round(max(took), 2)}


async def stop_under_load(short: bool) -> Figures:
    """SIGTERM of API and worker under load: what is under way finishes, exit code 0, nothing lost."""
    async with stage(apis=2, workers=2, rate=100) as s:
        names = s.system.names if short else s.system.names * 3
        for name in names:
            await asyncio.sleep(0.5)
            await s.system.answering()  # one that is still starting ends by the signal
            await _stop(s, name)
        await s.producer.finish()
        await s.system.answering()
        figures = await s.settled()
        said = s.system.log("supervisor")
        clean = said.count("ended (exit code 0), starting it again")
        demand(clean == len(names), f"{len(names)} were stopped, {clean} ended with exit code 0:\n{said}")
        return figures | {"stopped": len(names), "answers": dict(s.producer.answers)}


async def _stop(s: Stage, name: str) -> None:
    keeper = s.system.keepers[name]
    deaths = keeper.deaths

    async def sent() -> bool:
        return s.system.send(name, signal.SIGTERM)

    async def ended() -> bool:
        return keeper.deaths > deaths

    await until(sent, f"{name} runs")
    await until(ended, f"{name} ends after SIGTERM")


async def half_open(short: bool) -> Figures:
    """The line between the workers and Postgres goes silent, and what was open never speaks again."""
    async with stage(workers=2, rate=60) as s, Watch(s.system) as watch:
        await asyncio.sleep(1)
        began = time.monotonic()
        line = s.system.proxies["worker-postgres"]
        line.found_dead = 90.0  # only the product's own time-outs may help
        await line.cut("silent", 1.0)
        await until(lambda: _all_moved(watch, began), "every partition moves again", 60)
        await s.producer.finish()
        figures = await s.settled(seconds=90)
        took = watch.takeovers(began)
        if not took:
            raise Violation("no partition moved again")
        return figures | {"p50 s": round(statistics.median(took), 2), "max s": round(max(took), 2)}


async def _all_moved(watch: Watch, since: float) -> bool:
    return len(watch.takeovers(since)) == len(watch.moved)
