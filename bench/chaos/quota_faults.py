"""Scenario of a quota: many consumers of one limit while those who decide are killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.chaos import learned
from bench.chaos.consumers import CONSUMERS, METER, PATIENCE, Consumers, Told
from bench.chaos.faults import Chaos
from bench.chaos.receiver import Receiver
from bench.chaos.stage import Figures, demand, stage
from bench.chaos.system import System
from db import sql
from jobs.effects import destinations
from jobs.usage import plans
from jobs.usage.plans import Limit, Plan

QUERIES: Final = sql.load((Path(__file__).parent / "quota.sql").read_text())
LIMIT: Final = 50
NOTICES: Final = ("[80]", "[90]", "[100]")
ROUNDS: Final = 100
SPREAD: Final = 0.4
"""Seconds over which the consumers of every other round arrive; in the rounds between, all at once."""
SHOWN: Final = 5


async def limit_under_kills(short: bool) -> Figures:
    """200 consumers of a limit of 50 while workers are killed: 50 are allowed, told alike however often they ask."""
    async with Receiver() as receiver, stage(apis=2, workers=4, env=learned.ENV) as s:
        await _prepare(s.system, receiver)
        chaos, clients = Chaos(s.system, s.crowd.random), Consumers(s.producer.http, s.system.urls, s.crowd.random)
        s.producer.http.headers.update(s.producer.headers)
        began, struck, users = time.monotonic(), 0, []
        for number in range(4 if short else ROUNDS):
            users.append(user := f"consumer-{s.crowd.seed}-{number}")
            faults = asyncio.create_task(_faults(chaos, number))
            await clients.round(user, SPREAD * (number % 2))
            await faults
            struck += _struck(chaos, clients)
        seconds = time.monotonic() - began
        await s.system.answering()
        drained = (await s.settled())["drained after"]
        await learned.settled(s.system, PATIENCE)
        problems = clients.problems + await _account(s.system, users, clients.told, receiver)
        demand(not problems, "\n".join([f"{len(problems)} violations", *problems[:30], f"logs: {s.system.logs}"]))
        return {
            "acknowledged": len(clients.told),
            "rounds": len(users),
            "allowed": sum(told.allowed for told in clients.told.values()),
            "seconds": round(seconds, 1),
            "faults": dict(Counter(fault.name for fault in chaos.faults)),
            "while decisions were told": struck,
            "answers": dict(clients.answers.most_common()),
            "notices": len(receiver.messages),
            "sent again": sum(receiver.times.values()) - len(receiver.messages),
            "drained after": drained,
        }


async def _prepare(system: System, receiver: Receiver) -> None:
    """The limit, and a webhook."""
    body = Plan(0, {METER: Limit(LIMIT)})
    conn = await system.conn()
    try:
        async with conn.transaction():
            await plans.put(conn, "FREE", body, effective_from=datetime.now(UTC))
            await destinations.create(conn, receiver.url, [], "chaos")
    finally:
        await conn.close()


async def _faults(chaos: Chaos, number: int) -> None:
    """Workers die in every round; now and then an API, Valkey, Postgres' backends, or all workers at once."""
    rng = chaos.random
    await asyncio.sleep(rng.uniform(0, SPREAD))
    if number % 10 == 3:
        chaos.kill("valkey")
    if number % 10 == 5:
        chaos.kill(rng.choice(chaos.named("api")))
    if number % 10 == 7:
        for pid in chaos.system.backends():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                chaos.note("kill backend")
    workers = chaos.named("worker")
    for name in workers if number % 10 == 9 else rng.sample(workers, 2):
        chaos.kill(name)
        await asyncio.sleep(rng.uniform(0, SPREAD / 4))


def _struck(chaos: Chaos, clients: Consumers) -> int:
    """Faults of the last round before its last decision was told and behind its first."""
    times = clients.times
    clients.times = []
    return sum(min(times) < fault.at < max(times) for fault in chaos.faults)


async def _account(system: System, users: list[str], told: dict[str, Told], receiver: Receiver) -> list[str]:
    """Counters, facts, answers, notices and webhooks of every round."""
    conn = await system.conn()
    try:
        counters = {row[0]: tuple(row[1:]) for row in await conn.fetch(QUERIES["counters"], METER)}
        facts = await conn.fetch(QUERIES["facts"])
        unequal = await conn.fetch(sql.read("usage")["compare_usage"])
        effects = await conn.fetch(QUERIES["notices"])
    finally:
        await conn.close()
    problems = [f"counter and records differ: {dict(row)}" for row in unequal]
    problems += _different("facts", (row["id"] for row in facts), (f"{u}-{n}" for u in users for n in range(CONSUMERS)))
    for row in facts:
        outcome = json.loads(row["outcome"])
        if told.get(row["id"]) != (outcome["allowed"], outcome["used"]) or outcome["allowed"] is not (
            row["booked"] == 1
        ):
            problems.append(f"told {told.get(row['id'])}, recorded {dict(row)}")
    for user in users:
        own = [told[f"{user}-{number}"] for number in range(CONSUMERS)]
        used = sorted(one.used for one in own if one.allowed)
        if used != list(range(1, LIMIT + 1)) or counters.get(user) != (LIMIT, 0, LIMIT):
            problems.append(f"{user}: allowed {len(used)}, as number {used}; counter {counters.get(user)}")
    problems += _different(
        *("notices", ((row["user_id"], row["thresholds"]) for row in effects)),
        ((user, thresholds) for user in users for thresholds in NOTICES),
    )
    problems += _different("webhooks", iter(receiver.messages), (row["message_id"] for row in effects))
    return problems + [f"webhooks that came with two bodies: {one}" for one in receiver.changed]


def _different(name: str, found: Iterable[Any], wanted: Iterable[Any]) -> list[str]:
    """What is missing, and what is there too often."""
    there, should = Counter(found), Counter(wanted)
    parts = {"missing": should - there, "too many": there - should}
    return [f"{name}: {sum(ones.values())} {what}: {list(ones)[:SHOWN]}" for what, ones in parts.items() if ones]
