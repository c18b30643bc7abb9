"""The map of a Redis Cluster: its nodes, and which of them has a slot."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NoReturn

from redis import exceptions
from redis.asyncio import Redis
from redis.exceptions import ClusterDownError, MovedError, RedisError

from db import log, slots
from db.slots import Address

logger = log.get("cluster")

LOOK_SECONDS: Final = 1.0
"""How long one node may take to tell where the slots are."""
GAP_SECONDS: Final = 0.1
OLD_SECONDS: Final = 15.0
"""The map is read again after this, so that nobody listens for ever to a node that has left."""
AWAY: Final = (RedisError, OSError, TimeoutError)


class NoCluster(RedisError):
    """The server was not started with cluster-enabled yes."""


class Map:
    """A plain client for each node, and where the slots are. What failed makes it look again, in the background."""

    def __init__(self, url: str, make: Callable[[str], Redis]) -> None:
        """`make`: a plain client of the node with this URL."""
        self._seeds, self._url = slots.parse(url)
        self._make = make
        self._nodes: dict[Address, Redis] = {}
        self._slots: list[Address | None] = [None] * slots.NUMBER
        self._masters: set[Address] = set()
        self._stale, self._closed = True, False
        self._looked = 0.0
        self._lock = asyncio.Lock()
        self._look_task: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self.unchecked = True
        """A node is another, or was away: it may keep less than is promised."""

    def address(self, slot: int) -> Address | None:
        """The node that has a slot, as far as is known."""
        if self._is_old():
            self._look_again()
        return self._slots[slot]

    def node(self, address: Address) -> Redis:
        """The plain client of a node."""
        if address not in self._nodes:
            self._nodes[address] = self._make(self._url(address))
        return self._nodes[address]

    def anyone(self) -> Redis:
        """The client of some node."""
        return self.node(random.choice(list(self._masters) or self._seeds))

    def failed(self) -> None:
        """A node did not answer, or would not: the slots may be elsewhere by now."""
        self._stale = self.unchecked = True
        self._look_again()

    def moved(self, slot: int, error: MovedError) -> None:
        """A node says who has the slot from now on."""
        before = self._slots[slot] or self._seeds[0]
        now = self._slots[slot] = (error.host or before[0], error.port)
        self._masters.add(now)
        self.unchecked = True

    @contextmanager
    def checking(self) -> Iterator[None]:
        """While the block lasts, all masters are looked at; what fails meanwhile is to be looked at again."""
        self.unchecked = False
        try:
            yield
        except BaseException:
            self.unchecked = True
            raise

    async def masters(self) -> list[Redis]:
        """The nodes that have slots."""
        await self.known()
        return [self.node(address) for address in sorted(self._masters)]

    async def owner(self, key: str) -> Redis:
        """The node that has a key."""
        await self.known()
        address = self._slots[slots.of_key(key)]
        if address is None:
            raise nowhere()
        return self.node(address)

    async def known(self) -> None:
        """Go by the map that there is; only without any wait for one. A node that is away holds up nobody else."""
        if not self._masters:
            async with self._lock:
                if not self._masters:
                    await self._look()
        elif self._is_old():
            self._look_again()

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        tasks = [task for task in (self._look_task, *self._leaving) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in list(self._nodes.values()):
            await client.aclose(close_connection_pool=True)

    def _is_old(self) -> bool:
        return self._stale or time.monotonic() > self._looked + OLD_SECONDS

    def _look_again(self) -> None:
        if not self._closed and (self._look_task is None or self._look_task.done()):
            self._look_task = asyncio.get_running_loop().create_task(self._look_quietly(), name="cluster-map")

    async def _look_quietly(self) -> None:
        await asyncio.sleep(max(0.0, self._looked + GAP_SECONDS - time.monotonic()))
        try:
            await self._look()
        except AWAY as error:
            logger.warning("no node says where the slots are", error=str(error) or type(error).__name__)

    async def _look(self) -> None:
        """Ask one node after the other where the slots are, those that have some first."""
        error: Exception = exceptions.ConnectionError("no node of the cluster answers")
        for address in (*random.sample(sorted(self._masters), len(self._masters)), *self._seeds):
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    found: Any = await self.node(address).execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
            except AWAY as met:
                error = met
                continue
            if found:  # a node that has left knows of none
                self._learn(address, found)
                return
        self._looked = time.monotonic()
        _refuse(error)

    def _learn(self, asked: Address, found: Iterable[Sequence[Any]]) -> None:
        self._slots, before = [None] * slots.NUMBER, self._masters
        for first, last, (host, port, *_), *_ in found:
            named = host.decode() if host not in (None, b"", b"?") else asked[0]
            self._slots[first : last + 1] = [(named, port)] * (last + 1 - first)
        self._looked, self._stale = time.monotonic(), False
        self._masters = {address for address in self._slots if address is not None}
        self.unchecked = self.unchecked or before != self._masters
        if before and before != self._masters:
            logger.info("the cluster's nodes", nodes=sorted(f"{host}:{port}" for host, port in self._masters))
        for address in before - self._masters:
            self._leave(address)

    def _leave(self, address: Address) -> None:
        """Close what is open to a node without slots: who listens there would hear nothing any more."""
        if (client := self._nodes.pop(address, None)) is not None:
            work: Coroutine[Any, Any, None] = client.connection_pool.disconnect()
            task = asyncio.get_running_loop().create_task(work, name="cluster-leave")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)


def nowhere() -> ClusterDownError:
    """What is said for a slot that no node has."""
    return ClusterDownError("CLUSTERDOWN no node has the slot")  # type: ignore[no-untyped-call]


def _refuse(error: Exception) -> NoReturn:
    if "cluster support disabled" in str(error):
        raise NoCluster(str(error)) from error
    raise error
