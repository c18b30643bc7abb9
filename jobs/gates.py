"""How many deliveries of one destination a process has under way: more while they arrive, fewer when they fail."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final
from uuid import UUID

FIRST: Final = 4
MOST: Final = 32
"""Of the 200 jobs of a process: one that hangs holds 4, and 32 wait for it for 3 s; 64 when it was well until then."""
WAIT_SECONDS: Final = 3.0
MOST_LATER: Final = 60.0


class Gate:
    """The way to one destination."""

    def __init__(self) -> None:
        self.limit = FIRST
        self.running = 0
        self.well = True
        self.seconds = 0.1
        """How long a delivery takes, about."""
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._free_at = 0.0

    async def enter(self) -> bool:
        """Wait a little for a place; False when there is none. Who enters calls `leave`."""
        if self.running < self.limit:
            self.running += 1
            return True
        if len(self._waiting) >= (MOST if self.well else self.limit):
            return False
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self._pass_on()  # it was given a place at the very moment
            elif place in self._waiting:
                self._waiting.remove(place)
            if isinstance(error, TimeoutError):
                return False
            raise
        return True

    def leave(self, *, well: bool, seconds: float) -> None:
        """One has ended."""
        self.well = well
        self.limit = min(MOST, self.limit + 1) if well else max(1, self.limit // 2)
        self.seconds += 0.1 * (seconds - self.seconds)
        self._pass_on()

    def later(self) -> float:
        """Seconds after which one that found no place may find one: each gets a time of its own."""
        now = time.monotonic()
        self._free_at = min(max(self._free_at, now + 0.5), now + MOST_LATER) + self.seconds / self.limit
        return self._free_at - now

    def _pass_on(self) -> None:
        self.running -= 1
        while self._waiting and self.running < self.limit:
            place = self._waiting.popleft()
            if not place.done():
                self.running += 1
                place.set_result(None)


class Gates:
    """Those of one process; a destination that nothing goes to is forgotten."""

    def __init__(self) -> None:
        self._gates: dict[UUID, Gate] = {}

    def __getitem__(self, destination: UUID) -> Gate:
        gate = self._gates.get(destination)
        if gate is None:
            if len(self._gates) > 1000:
                self._gates = {one: held for one, held in self._gates.items() if held.running}
            gate = self._gates[destination] = Gate()
        return gate
