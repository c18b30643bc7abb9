"""The long run: hundreds of sessions, random faults, and the account at the end."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.chaos import check, learned
from bench.chaos.crowd import Crowd
from bench.chaos.faults import Chaos
from bench.chaos.learners import Learners
from bench.chaos.ledger import Ledger
from bench.chaos.producer import Producer, longest_gap
from bench.chaos.receiver import Receiver
from bench.chaos.system import System
from bench.chaos.watch import Watch

FROZEN: Final = (20.0, 30.0)
AFTERMATH: Final = 5.0
"""Seconds after a fault in which a pause of the acknowledgements is laid at its door."""
CALM: Final = 90.0
"""Seconds for everything to come back and drain, at most."""


@dataclass(frozen=True)
class Plan:
    """How much of it."""

    kills: int = 50
    seconds: float = 0.0
    """How long the faults go on; 0: until the kills are done."""
    seed: int = 1
    freezes: int = 2
    pause: tuple[float, float] = (0.5, 3.5)
    rate: float = 60.0
    cut: float = 5.0
    """Longest cut of a line, in seconds."""
    folder: Path | None = None
    """Where data and logs go, and stay."""


Tell = Callable[[int, int, int], None]
"""Told while it runs: faults, kills, acknowledged actions, so far."""


async def run(plan: Plan, told: Tell = lambda *_: None) -> dict[str, Any]:
    """The figures of one run. Violation when a guarantee was broken."""
    async with System(folder=plan.folder, env=learned.ENV) as system, Receiver() as receiver:
        crowd, ledger = Crowd(plan.seed), Ledger()
        codes = await learned.prepare(system, receiver)
        crowd.learners = Learners(crowd.random, plan.seed, crowd.began, codes)
        chaos = Chaos(system, random.Random(plan.seed), plan.cut)
        began = time.monotonic()
        async with Producer(system.urls, system.key, crowd, ledger, plan.rate) as producer, Watch(system) as watch:

            def tell() -> None:
                system.output.say(f"ANSWERS {dict(producer.answers)}")
                told(len(chaos.faults), chaos.kills, ledger.acknowledged)

            await _faults(chaos, plan, tell)
            calm = time.monotonic()
            await producer.finish(CALM)
            await system.answering(CALM)
            drain = await check.drained(system, CALM)
            back = time.monotonic() - calm
            delivered = await learned.settled(system, CALM)
        figures = await check.account(system, ledger, crowd.began)
        people = await learned.account(system, ledger, codes, receiver)
        return {
            "seed": plan.seed,
            "seconds": round(time.monotonic() - began, 1),
            "kills": chaos.kills,
            "faults": _faults_by_name(chaos),
            **figures,
            "answers": dict(producer.answers.most_common()),
            "all back after": round(back, 2),
            "drained after": round(drain, 2),
            "people": people,
            "delivered after": round(delivered, 2),
            "accept p50 ms": _quantile(producer.latencies, 0.5) * 1000,
            "accept p99 ms": _quantile(producer.latencies, 0.99) * 1000,
            "takeovers": _takeovers(chaos, watch),
            "unavailable": _unavailable(chaos, producer),
            "restarts": {name: keeper.deaths for name, keeper in system.keepers.items()},
        }


async def _faults(chaos: Chaos, plan: Plan, tell: Callable[[], None]) -> None:
    """One after the other, while a worker freezes now and then."""
    began = time.monotonic()
    freezing: set[asyncio.Task[None]] = set()
    rng, frozen = chaos.random, 0
    while chaos.kills < plan.kills or (plan.seconds and time.monotonic() - began < plan.seconds):
        await asyncio.sleep(rng.uniform(*plan.pause))
        if frozen < plan.freezes and not freezing:
            freezing.add(task := asyncio.create_task(chaos.freeze(rng.uniform(*FROZEN))))
            task.add_done_callback(freezing.discard)
            frozen += 1
        await chaos.one()
        tell()
    while freezing or frozen < plan.freezes:
        if not freezing:
            freezing.add(task := asyncio.create_task(chaos.freeze(rng.uniform(*FROZEN))))
            task.add_done_callback(freezing.discard)
            frozen += 1
        await asyncio.wait(set(freezing))
    tell()


def _faults_by_name(chaos: Chaos) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for fault in chaos.faults:
        counts[fault.name] += 1
    return dict(sorted(counts.items()))


def _takeovers(chaos: Chaos, watch: Watch) -> dict[str, dict[str, float]]:
    """After each kind of fault that stops a drain: seconds until a partition moved again, over all partitions."""
    found: dict[str, list[float]] = defaultdict(list)
    for fault in chaos.faults:
        if fault.name in {"kill worker", "freeze worker", "kill postgres", "kill backend", "kill valkey"}:
            found[fault.name] += watch.takeovers(fault.at)
    return {name: _summary(seconds) for name, seconds in sorted(found.items()) if seconds}


def _unavailable(chaos: Chaos, producer: Producer) -> dict[str, dict[str, float]]:
    """After each kind of fault: the longest time without any acknowledgement."""
    found: dict[str, list[float]] = defaultdict(list)
    for fault in chaos.faults:
        if not fault.name.startswith("freeze"):
            found[fault.name].append(longest_gap(producer.acks, fault.at, max(fault.at, fault.ended) + AFTERMATH))
    return {name: _summary(seconds) for name, seconds in sorted(found.items())}


def _summary(seconds: list[float]) -> dict[str, float]:
    return {
        "count": len(seconds),
        "p50": round(statistics.median(seconds), 3),
        "p95": round(_quantile(seconds, 0.95), 3),
        "max": round(max(seconds), 3),
    }


def _quantile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 5) if ordered else 0.0
