"""What every scenario needs: a small system, a client that notes what it sends, questions to the system."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis

from bench.chaos import check
from bench.chaos.crowd import Crowd
from bench.chaos.ledger import Ledger
from bench.chaos.producer import Producer
from bench.chaos.system import System, Violation
from db.state import State

Figures = dict[str, Any]


@dataclass
class Stage:
    """One scenario's system, crowd, ledger and client."""

    system: System
    crowd: Crowd
    ledger: Ledger
    producer: Producer
    redis: Redis

    async def post(self, requests: int, *, size: int = 5, seconds: float = 30, pause: float = 0.0) -> list[float]:
        """Send requests until each is acknowledged; seconds that each took. Violation when that takes too long."""
        took: list[float] = []
        try:
            async with asyncio.timeout(seconds):
                for _ in range(requests):
                    began = time.monotonic()
                    await self.producer.deliver(self.crowd.request(size, named=True, waits=False))
                    took.append(time.monotonic() - began)
                    await asyncio.sleep(pause)
        except TimeoutError:
            raise Violation(f"{len(took)} of {requests} requests were acknowledged within {seconds:g} s") from None
        return took

    async def refused(self, code: str, seconds: float = 20) -> str:
        """Send until a request is refused with this code; its Retry-After. The refused are sent again later."""
        url, headers = f"{self.producer.urls[0]}/v1/actions", self.producer.headers
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            request = self.crowd.request(20, named=True, waits=False)
            for body in request.bodies:
                self.ledger.sending(body)
            async with self.producer.http.post(url, json={"actions": request.bodies}, headers=headers) as response:
                answer = await response.json()
                if response.status in {200, 202}:
                    self.ledger.answered(request.bodies, answer)
                    continue
                if response.status != 503 or answer["error"]["code"] != code or "Retry-After" not in response.headers:
                    raise Violation(f"not 503 {code} with Retry-After, but {response.status}: {answer}")
                return response.headers["Retry-After"]
        raise Violation(f"nothing was refused with {code} within {seconds:g} s")

    async def metric(self, name: str, of: Callable[[Iterable[float]], float] = sum) -> float:
        """The sum (or the largest) of a metric's samples, as /metrics tells it."""
        async with self.producer.http.get(f"{self.producer.urls[0]}/metrics") as response:
            text = await response.text()
        lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        return of([float(line.rpartition(" ")[2]) for line in lines])

    async def settled(self, *, dead: int = 0, lost: frozenset[str] = frozenset(), seconds: float = 60) -> Figures:
        """Until the streams are empty, then the account."""
        drained = await check.drained(self.system, seconds)
        figures = await check.account(self.system, self.ledger, self.crowd.began, dead=dead, lost=lost)
        return {**figures, "drained after": round(drained, 2)}


@asynccontextmanager
async def stage(
    *,
    apis: int = 1,
    workers: int = 1,
    env: Mapping[str, str] | None = None,
    rate: float = 0,
    folder: Path | None = None,
    prepare: Callable[[State], None] | None = None,
) -> AsyncIterator[Stage]:
    """A system with a client; `rate` requests a second are sent all the time, 0: only what is asked for."""
    async with System(apis=apis, workers=workers, env=env, folder=folder, prepare=prepare) as system:
        crowd, ledger = Crowd(int(time.time())), Ledger()
        async with Producer(system.urls, system.key, crowd, ledger, rate) as producer, system.redis() as redis:
            yield Stage(system, crowd, ledger, producer, redis)


async def until(holds: Callable[[], Awaitable[bool]], what: str, seconds: float = 30) -> float:
    """Poll; how long it took. Violation when it takes longer."""
    began = time.monotonic()
    while True:
        try:
            if await holds():
                return time.monotonic() - began
        except (aiohttp.ClientError, OSError, TimeoutError):
            pass
        if time.monotonic() - began > seconds:
            raise Violation(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(0.05)


def demand(holds: bool, otherwise: str) -> None:
    """Violation unless it holds."""
    if not holds:
        raise Violation(otherwise)


def quantiles(took: list[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds."""
    ordered = sorted(took)
    return {
        f"p{part}": round(ordered[min(len(ordered) - 1, len(ordered) * part // 100)] * 1000, 2) for part in (50, 99)
    }
