"""Requests that wait: for the outcomes of their actions, or until a position is applied."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from db import ending, keys, listening, log, stream
from db.stream import Position

logger = log.get("waiting")

POLL_SECONDS: Final = 0.25
"""How often a waiting read looks by itself, in case that a message was lost."""


class Waiting:
    """One API process's ear on Redis pub/sub."""

    def __init__(self, client: Redis, partitions: int) -> None:
        self.client, self.partitions = client, partitions
        self.name = secrets.token_hex(6)
        self._number = 0
        self._outcomes: dict[str, asyncio.Future[tuple[Any, bool]]] = {}
        self._moved: dict[int, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen."""
        self._task = asyncio.create_task(self._listen(), name="waiting")

    async def stop(self) -> None:
        """Stop listening; who waits runs into its time-out."""
        if self._task is not None:
            await ending.ended(self._task)

    def expect(self) -> tuple[str, asyncio.Future[tuple[Any, bool]]]:
        """An action's `reply`, and the future of its (outcome, duplicate)."""
        self._number += 1
        token = str(self._number)
        future: asyncio.Future[tuple[Any, bool]] = asyncio.get_running_loop().create_future()
        self._outcomes[token] = future
        future.add_done_callback(lambda _: self._outcomes.pop(token, None))
        return f"{self.name}:{token}", future

    async def applied(self, wanted: Mapping[int, Position], seconds: float) -> bool:
        """Wait until all these positions are applied; False when the time is over."""
        partitions = list(wanted)
        moved = asyncio.Event()
        for partition in partitions:
            self._moved[partition].add(moved)
        try:
            async with asyncio.timeout(seconds):
                while not await self._reached(wanted, partitions):
                    await _within(moved, POLL_SECONDS)
        except TimeoutError:
            return False
        finally:
            for partition in partitions:
                self._moved[partition].discard(moved)
        return True

    async def _reached(self, wanted: Mapping[int, Position], partitions: Sequence[int]) -> bool:
        held = await stream.applied(self.client, partitions)
        return all(position >= wanted[partition] for partition, position in zip(partitions, held, strict=True))

    async def _listen(self) -> None:
        while True:
            try:
                async with self.client.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(keys.APPLIED_CHANNEL, keys.REPLY_CHANNEL + self.name)
                    async for name, data in listening.messages(channel):
                        self._take(name, data)
            except (RedisError, OSError) as error:
                logger.warning("not listening, trying again", error=str(error) or type(error).__name__)
                await asyncio.sleep(0.2)
            except Exception:
                logger.exception("listening met a fault of its own; trying again")
                await asyncio.sleep(0.2)

    def _take(self, channel: bytes, data: bytes) -> None:
        if channel == keys.APPLIED_CHANNEL.encode():
            for event in self._moved.get(int(data.partition(b".")[0]), ()):
                event.set()
            return
        for token, outcome, duplicate in msgspec.json.decode(data):
            future = self._outcomes.get(token)
            if future is not None and not future.done():
                future.set_result((outcome, duplicate))


async def _within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
    event.clear()


def parse(text: str, partitions: int) -> dict[int, Position]:
    """`3.1763712000000-0,5.…`, as answers give it; raises ValueError."""
    found: dict[int, Position] = {}
    for part in text.split(","):
        partition, _, position = part.partition(".")
        if not (partition.isascii() and partition.isdigit() and len(partition) < 10 and int(partition) < partitions):
            raise ValueError(f"a position looks like 3.1763712000000-0, with a partition below {partitions}")
        found[int(partition)] = Position.parse(position)
    return found
