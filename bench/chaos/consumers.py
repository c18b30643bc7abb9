"""Clients that all want something of one quota, and ask again with the same ids until they are told."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import aiohttp

METER: Final = "API_CALL"
CONSUMERS: Final = 200
PATIENCE: Final = 90.0
AGAIN: Final = 0.1
"""Share of consumers that ask a second time, whatever they were told."""


class Told(NamedTuple):
    """What matters of a decision."""

    allowed: bool
    used: int


@dataclass
class Consumers:
    """All clients: what each was told, by the id of its action."""

    http: aiohttp.ClientSession
    urls: list[str]
    random: random.Random
    told: dict[str, Told] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    """Status, or class of the failure, of every attempt."""
    times: list[float] = field(default_factory=list)
    """`time.monotonic()` of every decision that was told."""
    problems: list[str] = field(default_factory=list)

    async def round(self, user: str, spread: float) -> None:
        """Everybody wants one, and asks until there is an answer. TimeoutError when that takes too long."""
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(self._consume(user, number, spread) for number in range(CONSUMERS)))

    async def _consume(self, user: str, number: int, spread: float) -> None:
        name = f"{user}-{number}"
        again = self.random.random() < AGAIN
        await asyncio.sleep(self.random.uniform(0, spread))
        for _ in range(1 + again):
            pause = 0.05
            while not await self._attempt(name, user):
                await asyncio.sleep(pause * self.random.uniform(0.5, 1))
                pause = min(1.0, pause * 2)

    async def _attempt(self, name: str, user: str) -> bool:
        """One request by either way in; False when it has to be sent again with the same id."""
        used = {"action": METER}
        way, body = self.random.choice(
            (
                ("/v1/usage/consume?wait=1", {"id": name, "userId": user, **used}),
                ("/v1/actions", {"id": name, "userId": user, "kind": "usage.consumed", "data": used}),
            )
        )
        url = f"{self.random.choice(self.urls)}{way}"
        try:
            async with self.http.post(url, json=body, headers={"Prefer": "wait=1"}) as response:
                status, answer = response.status, await response.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            self.answers[type(error).__name__] += 1
            return False
        code = f" {answer['error']['code']}" if "error" in answer else ""
        self.answers[f"{status}{code}"] += 1
        if status in {200, 429}:
            self._decided(name, decision(status, answer))
        elif status not in {202, 503}:
            self.problems.append(f"{name} was answered {status}: {str(answer)[:300]}")
        return status not in {202, 503}

    def _decided(self, name: str, told: Told) -> None:
        self.times.append(time.monotonic())
        if self.told.setdefault(name, told) != told:
            self.problems.append(f"{name} was told {self.told[name]}, and then {told}")


def decision(status: int, answer: Any) -> Told:
    """The same of an action that waits, of a decision, and of a denial."""
    if "results" in answer:
        answer = answer["results"][0]["outcome"]
        return Told(answer["allowed"], answer["used"])
    return Told(True, answer["used"]) if status == 200 else Told(False, answer["error"]["details"]["used"])
