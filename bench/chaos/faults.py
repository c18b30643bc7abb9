"""What can happen to a running system: kills, frozen processes, cut lines."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from bench.chaos.system import LINKS, System
from bench.proxy import CUTS

HELD_TRIES: Final = 60


@dataclass
class Fault:
    """One thing that happened, and when (`time.monotonic()`)."""

    name: str
    at: float
    ended: float = 0.0
    detail: str = ""


@dataclass
class Chaos:
    """The faults of one run."""

    system: System
    random: random.Random
    cut: float = 5.0
    """Longest cut of a line, in seconds."""
    faults: list[Fault] = field(default_factory=list)
    frozen: set[str] = field(default_factory=set)

    async def one(self) -> None:
        """Some fault, by weight; it returns when the fault is over (a kill is over at once)."""
        cause = self.random.choices([cause for _, cause in CAUSES], [weight for weight, _ in CAUSES])[0]
        await cause(self)

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return sum(fault.name.startswith("kill") for fault in self.faults)

    def note(self, name: str, detail: str = "") -> Fault:
        """Write a fault down."""
        fault = Fault(name, time.monotonic(), detail=detail)
        self.faults.append(fault)
        self.system.output.say(f"FAULT {name} {detail}")
        return fault

    def kill(self, name: str) -> None:
        """kill -9 of one program or server."""
        if name not in self.frozen and self.system.send(name, signal.SIGKILL):
            self.note(f"kill {name.partition('-')[0]}", name)

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP a worker while it holds a partition, for long; then let it wake up."""
        awake = [name for name in self.named("worker") if name not in self.frozen]
        if len(awake) < 2:
            return
        name = self.random.choice(awake)
        self.frozen.add(name)
        try:
            if await self._stop_holding(name):
                fault = self.note("freeze worker", name)
                await asyncio.sleep(seconds)
                fault.ended = time.monotonic()
                self.system.output.say(f"FAULT thaw worker {name}")
        finally:
            self.system.send(name, signal.SIGCONT)
            self.frozen.discard(name)

    async def _stop_holding(self, name: str) -> bool:
        """Stop it at a moment at which it has a transaction open; False when it never had."""
        for _ in range(HELD_TRIES):
            if self.system.send(name, signal.SIGSTOP):
                stopped = time.monotonic()
                await asyncio.sleep(0.3)
                if await self.holding(time.monotonic() - stopped - 0.05):
                    return True
                self.system.send(name, signal.SIGCONT)
            await asyncio.sleep(self.random.uniform(0.01, 0.1))
        return False

    async def holding(self, seconds: float) -> int:
        """Transactions of the drain that are older than this."""
        try:
            conn = await self.system.conn()
        except OSError:
            return 0
        try:
            found: int = await conn.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'milepost-drain' "
                "AND xact_start < now() - make_interval(secs => $1)",
                seconds,
            )
        finally:
            await conn.close()
        return found

    def named(self, role: str) -> list[str]:
        """The programs of a role."""
        return [name for name in self.system.names if name.startswith(role)]


async def _kill_api(chaos: Chaos) -> None:
    chaos.kill(chaos.random.choice(chaos.named("api")))


async def _kill_worker(chaos: Chaos) -> None:
    chaos.kill(chaos.random.choice(chaos.named("worker")))


async def _kill_valkey(chaos: Chaos) -> None:
    chaos.kill("valkey")


async def _kill_postgres(chaos: Chaos) -> None:
    chaos.kill("postgres")


async def _kill_backend(chaos: Chaos) -> None:
    if backends := chaos.system.backends():
        os.kill(chaos.random.choice(backends), signal.SIGKILL)
        chaos.note("kill backend")


async def _cut(chaos: Chaos) -> None:
    link, how = chaos.random.choice(LINKS), chaos.random.choice(CUTS)
    seconds = chaos.random.uniform(0.5, chaos.cut)
    fault = chaos.note(f"cut {link} {how}", f"{seconds:.1f} s")
    await chaos.system.proxies[link].cut(how, seconds)
    fault.ended = time.monotonic()


Cause = Callable[[Chaos], Awaitable[None]]
CAUSES: Final[tuple[tuple[int, Cause], ...]] = (
    (4, _kill_worker),
    (3, _kill_api),
    (2, _kill_valkey),
    (1, _kill_postgres),
    (1, _kill_backend),
    (5, _cut),
)
