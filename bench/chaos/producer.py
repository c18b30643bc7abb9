"""A client as clients should be: it sends again, with the same ids, whatever was not acknowledged."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from itertools import pairwise
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from bench.chaos.crowd import Crowd, Request
from bench.chaos.ledger import Ledger

TIMEOUT: Final = 8.0
AGAIN: Final = 0.02
"""Share of acknowledged requests that are sent once more."""
TWICE: Final = 0.005
"""Share of requests that go to two APIs at the same time."""
WORKERS: Final = 48
LONGEST_PAUSE: Final = 1.0


class Producer:
    """Sends the crowd's requests to all APIs in turn, at `rate` requests a second. Use it as `async with`."""

    def __init__(self, urls: list[str], key: str, crowd: Crowd, ledger: Ledger, rate: float = 60) -> None:
        """Nothing is sent before the block begins."""
        self.urls, self.crowd, self.ledger, self.rate = urls, crowd, ledger, rate
        self.headers = {"Authorization": f"Bearer {key}"}
        self.random = random.Random(crowd.seed + 1)
        self.answers: Counter[str] = Counter()
        """Status, or class of the failure, of every attempt."""
        self.acks: list[float] = []
        """`time.monotonic()` of every acknowledged request."""
        self.latencies: list[float] = []
        """Seconds of every acknowledged attempt."""
        self._turn = 0
        self._queue: asyncio.Queue[Request] = asyncio.Queue(WORKERS)
        self._tasks: list[asyncio.Task[None]] = []
        self._later: set[asyncio.Task[None]] = set()
        self._pace: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to send."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        self.http = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))
        self._pace = asyncio.create_task(self._produce())
        self._tasks = [asyncio.create_task(self._consume()) for _ in range(WORKERS)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop at once."""
        tasks = [*self._tasks, *self._later, *([self._pace] if self._pace else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.http.close()

    async def finish(self, seconds: float = 60) -> None:
        """Send nothing new; until everything that was to be acknowledged is. TimeoutError when that takes longer."""
        if self._pace:
            self._pace.cancel()
        async with asyncio.timeout(seconds):
            await self._queue.join()
            while self._later:
                await asyncio.wait(self._later)

    async def _produce(self) -> None:
        due = time.monotonic()
        while True:
            await self._queue.put(self.crowd.request())
            due = max(due + 1 / self.rate, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _consume(self) -> None:
        while True:
            request = await self._queue.get()
            try:
                await self.deliver(request)
            except Exception as error:  # noqa: BLE001  the client's own fault is told at the end, like the product's
                self.ledger.problems.append(f"the client failed: {error!r}")
            finally:
                self._queue.task_done()

    async def deliver(self, request: Request) -> None:
        """Send until it is acknowledged; without ids only once."""
        for body in request.bodies:
            self.ledger.sending(body)
        if request.named and self.random.random() < TWICE:
            self._soon(self._repeat(request, 0.0))
        pause = 0.05
        while not await self.attempt(request) and request.named:
            await asyncio.sleep(pause * self.random.uniform(0.5, 1))
            pause = min(LONGEST_PAUSE, pause * 2)
        if request.named and self.random.random() < AGAIN:
            self._soon(self._repeat(request, self.random.uniform(0, 3)))

    def _soon(self, what: Any) -> None:
        task = asyncio.create_task(what)
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _repeat(self, request: Request, after: float) -> None:
        await asyncio.sleep(after)
        await self.attempt(request)

    async def attempt(self, request: Request) -> bool:
        """One POST; False when it has to be sent again."""
        self._turn += 1
        url = self.urls[self._turn % len(self.urls)]
        headers = self.headers | ({"Prefer": "wait=1"} if request.waits else {})
        single = len(request.bodies) == 1
        content = request.bodies[0] if single else {"actions": request.bodies}
        began = time.monotonic()
        try:
            async with self.http.post(f"{url}/v1/actions", json=content, headers=headers) as response:
                answer = await response.json(content_type=None)
                return self._judge(request, response, answer, time.monotonic() - began)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            self.answers[type(error).__name__] += 1
            return False

    def _judge(self, request: Request, response: aiohttp.ClientResponse, answer: Any, seconds: float) -> bool:
        status = response.status
        name = f"{status} {answer['error']['code']}" if "error" in answer else str(status)
        self.answers[name] += 1
        if status in {200, 202}:
            self.ledger.answered(request.bodies, answer)
            self.acks.append(time.monotonic())
            if not request.waits:
                self.latencies.append(seconds)
            return True
        if status != 503:
            self.ledger.problems.append(f"a good request was answered {status}: {str(answer)[:300]}")
        elif "Retry-After" not in response.headers:
            self.ledger.problems.append(f"503 without Retry-After: {str(answer)[:300]}")
        return status < 500


def longest_gap(acks: list[float], begin: float, end: float) -> float:
    """The longest time between two acknowledgements, of those that begin in [begin, end]."""
    inside = [begin, *(ack for ack in acks if begin < ack)]
    gaps = [(later - earlier) for earlier, later in pairwise(inside) if earlier <= end]
    return max(gaps, default=0.0)
