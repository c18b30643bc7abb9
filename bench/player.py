"""Plays a stretch of actions through the public HTTP API, and measures what a client can measure."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import msgspec

from bench.traffic import Request, Stretch
from jobs.sending import Refused, Sender

PROBE_EVERY: Final = 12
"""One request of so many is followed by a read that waits until it is applied."""
APPLIED_SECONDS: Final = 120.0


class _Kind(msgspec.Struct):
    kind: str


class _Code(msgspec.Struct):
    code: str


class _Kinds(msgspec.Struct):
    kinds: list[_Kind]


@dataclass(slots=True)
class Played:
    """What came of it. Times in seconds; `ids` are the different ids that were accepted."""

    actions: int = 0
    requests: int = 0
    accepted: int = 0
    again: int = 0
    ids: set[str] = field(default_factory=set)
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By code and message."""
    acknowledged: list[float] = field(default_factory=list)
    freshness: list[float] = field(default_factory=list)
    seconds: float = 0.0
    settled: float | None = None
    """Seconds from the last acknowledgement until everything was applied; None: not within the time."""
    positions: dict[int, tuple[int, int]] = field(default_factory=dict)


class Player:
    """One API as its clients see it."""

    def __init__(self, sender: Sender, moved: Callable[[Played], None]) -> None:
        self.sender, self.moved = sender, moved
        self.headers = {"Authorization": f"Bearer {sender.key}"}
        self.played = Played()
        self._next = 0.0

    async def kinds(self) -> frozenset[str]:
        """The kinds that this API knows; raises Refused when nobody answers."""
        try:
            async with self.sender.session.get(f"{self.sender.url}/v1/kinds", headers=self.headers) as response:
                return frozenset(one.kind for one in msgspec.json.decode(await response.read(), type=_Kinds).kinds)
        except (aiohttp.ClientError, OSError, TimeoutError, msgspec.MsgspecError) as error:
            why = str(error) or type(error).__name__
            raise Refused(f"{self.sender.url} does not answer as Milepost does: {why}") from None

    async def play(self, stretch: Stretch) -> Played:
        """Every lane at a time, each in its order; then wait until all of it is applied. Raises Refused."""
        if stretch.courses:
            await self.describe(stretch.courses)
        started = time.perf_counter()
        lanes = [asyncio.create_task(self._lane(lane, stretch)) for lane in stretch.lanes if lane]
        try:
            await asyncio.gather(*lanes)
        finally:
            for lane in lanes:
                lane.cancel()
        acknowledged = time.perf_counter()
        self.played.seconds = acknowledged - started
        if await self._applied(stretch.example):
            self.played.settled = time.perf_counter() - acknowledged
        return self.played

    async def describe(self, courses: bytes) -> None:
        """The courses before those who learn; the same ones again change nothing."""
        headers = {**self.headers, "Content-Type": "application/json"}
        async with self.sender.session.put(f"{self.sender.url}/v1/courses", data=courses, headers=headers) as response:
            if response.status != 200:
                raise Refused(f"PUT /v1/courses: {response.status} {(await response.text())[:200]}")

    async def code(self, org: str) -> str:
        """The referral code of an organisation, which is made for it. Raises Refused."""
        url = f"{self.sender.url}/v1/referrals/code"
        async with self.sender.session.get(url, params={"orgId": org}, headers=self.headers) as response:
            if response.status != 200:
                raise Refused(f"GET /v1/referrals/code: {response.status} {(await response.text())[:200]}")
            return msgspec.json.decode(await response.read(), type=_Code).code

    async def _lane(self, lane: list[Request], stretch: Stretch) -> None:
        for request in lane:
            await self._keep_pace(stretch.pace, len(request.lines))
            await self._request(request, stretch.example)

    async def _keep_pace(self, pace: float, number: int) -> None:
        """Requests of all lanes one after the other, spread evenly; what is late is not caught up."""
        if pace:
            now = time.perf_counter()
            self._next = max(now, self._next) + number / pace
            await asyncio.sleep(self._next - now)

    async def _request(self, request: Request, example: str) -> None:
        played = self.played
        number = played.requests = played.requests + 1
        played.actions += len(request.lines)
        started = time.perf_counter()
        answer = await self.sender.post(request.lines)
        acknowledged = time.perf_counter()
        played.acknowledged.append(acknowledged - started)
        refused = {no.index for no in answer.rejected}
        good = [action_id for index, action_id in enumerate(request.ids) if index not in refused]
        played.accepted += answer.accepted
        played.again += len(good) if request.again else 0
        played.ids.update(good)
        for no in answer.rejected:
            played.rejected[no.code, no.message] += 1
        self._note(answer.position)
        if number % PROBE_EVERY == 0 and answer.position and await self._reached(example, answer.position):
            played.freshness.append(time.perf_counter() - acknowledged)
        self.moved(played)

    def _note(self, position: str) -> None:
        for part in position.split(",") if position else ():
            partition, _, place = part.partition(".")
            ms, _, seq = place.partition("-")
            at = (int(ms), int(seq))
            self.played.positions[int(partition)] = max(at, self.played.positions.get(int(partition), at))

    async def _reached(self, session: str, position: str) -> bool:
        """A read that waits for a position, up to 2 s; whether it was applied."""
        url = f"{self.sender.url}/v1/sessions/{session or 'none'}"
        try:
            async with self.sender.session.get(url, params={"after": position}, headers=self.headers) as response:
                await response.read()
                # Without a session there is no header that says "not yet"; 2 s is the longest that the API waits.
                return response.status in (200, 404) and "Milepost-Stale" not in response.headers
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def _applied(self, session: str) -> bool:
        if not self.played.positions:
            return True
        position = ",".join(f"{partition}.{ms}-{seq}" for partition, (ms, seq) in sorted(self.played.positions.items()))
        deadline = time.perf_counter() + APPLIED_SECONDS
        while time.perf_counter() < deadline:
            started = time.perf_counter()
            if await self._reached(session, position) and time.perf_counter() - started < 1.9:
                return True
            await asyncio.sleep(0.1)
        return False


def percentile(values: list[float], share: float) -> float:
    """The nearest rank; 0 for no values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
