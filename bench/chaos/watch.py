"""An eye on the partitions' rows, past the proxies: when each of them moved."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from types import TracebackType
from typing import Final, Self

import asyncpg

from bench.chaos.system import PARTITIONS, System

LOOK: Final = 0.02
POSITIONS: Final = "SELECT id, position_ms, position_seq FROM partitions ORDER BY id"


class Watch:
    """Use it as `async with`."""

    def __init__(self, system: System) -> None:
        """Nothing is watched before the block begins."""
        self.system = system
        self.moved: dict[int, list[float]] = defaultdict(list)
        """`time.monotonic()` of every commit that was seen, by partition."""
        self._last: dict[int, tuple[int, int]] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to look."""
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop looking."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                conn = await self.system.conn()
                try:
                    await self._look(conn)
                finally:
                    conn.terminate()
            except Exception as error:  # noqa: BLE001 - the edge: what a dying server has the driver say
                # A watch that ended unseen would leave its table empty.
                self.system.output.say(f"WATCH looks again: {error!r}")
                await asyncio.sleep(0.1)

    async def _look(self, conn: asyncpg.Connection) -> None:
        while True:
            rows = await conn.fetch(POSITIONS, timeout=5)
            now = time.monotonic()
            for row in rows:
                position = row["position_ms"], row["position_seq"]
                if self._last.get(row["id"]) != position:
                    self._last[row["id"]] = position
                    self.moved[row["id"]].append(now)
            await asyncio.sleep(LOOK)

    def takeovers(self, since: float) -> list[float]:
        """For each partition the seconds from `since` until it moved again; those that did not are left out."""
        found = (next((at - since for at in self.moved[number] if at > since), None) for number in range(PARTITIONS))
        return [seconds for seconds in found if seconds is not None]
