"""How many deliveries of one destination a process has under way: more while they arrive, fewer when they fail."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from typing import Final
from uuid import UUID

FIRST: Final = 4
MOST: Final = 32
"""Of the 200 jobs of a process: one that hangs holds 4, and 32 wait for it for 3 s.

One that was well until then holds 32, and for another 3 s as many wait as it would have taken in them.
"""
REST_AFTER: Final = 5
"""Failures of a destination in a row after which it rests; then one delivery tries whether it is well again."""
WAIT_SECONDS: Final = 3.0
MOST_LATER: Final = 60.0


class Gate:
    """The way to one destination."""

    def __init__(self) -> None:
        self.limit = FIRST
        self.running = 0
        self.failed = 0
        """In a row."""
        self.seconds = 0.1
        """How long a delivery takes, about."""
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._free_at = self._rest_until = 0.0
        self._well_at = -math.inf

    async def enter(self, *, probing: bool = False) -> bool:
        """Wait a little for a place; False when there is none, or the destination began to rest. Who enters leaves."""
        if not probing and time.monotonic() < self._rest_until:
            return False
        if self.running < self.limit:
            self.running += 1
            return True
        if len(self._waiting) >= self._room():
            return False
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await place
        except BaseException as error:
            if place.done() and not place.cancelled() and place.result():
                self._pass_on()  # it was given a place at the very moment
            elif place in self._waiting:
                self._waiting.remove(place)
            if isinstance(error, TimeoutError):
                return False
            raise

    def _room(self) -> int:
        """How many may wait: as many as find a place in that time, where it has just shown how fast it answers.

        Who is turned away costs as much as who is delivered, and comes again with the sweep, not when there is room.
        """
        if self.failed:
            return self.limit
        if time.monotonic() - self._well_at > WAIT_SECONDS:
            return MOST
        return max(MOST, int(0.8 * WAIT_SECONDS * self.limit / max(self.seconds, 0.001)))

    def leave(self, *, well: bool | None, seconds: float) -> None:
        """One has ended; None: it did not try. At the fifth failure who waits is turned away: there is to be a rest."""
        if well is not None:
            self.failed = 0 if well else self.failed + 1
            self.limit = min(MOST, self.limit + 1) if well else max(1, self.limit // 2)
            self.seconds += 0.1 * (seconds - self.seconds)
            self._rest_until = 0.0
            if well:
                self._well_at = time.monotonic()
        if self.failed >= REST_AFTER:
            self._turn_away()
        self._pass_on()

    def _turn_away(self) -> None:
        """What was claimed before the rest began in Postgres is not to go."""
        self._rest_until = time.monotonic() + WAIT_SECONDS
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(False)

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
                place.set_result(True)


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
