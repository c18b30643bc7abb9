"""Redis Cluster: a plain client for each node, a map from slots to nodes, and every command on the node of its slot.

A command that a node did not take (MOVED, ASK, TRYAGAIN) is sent on; one that may have been carried out never is.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NoReturn

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline, PubSub
from redis.exceptions import AskError, ClusterDownError, ClusterError, MovedError, RedisError, TryAgainError

from db import log, slots
from db.slots import Address, Queued
from db.wire import Command, Wire

logger = log.get("cluster")

TRIES: Final = 12
PAUSE: Final = 0.05
"""Seconds before a slot that is just being moved is asked again: half a second in all."""
LOOK_SECONDS: Final = 1.0
"""How long one node may take to tell where the slots are."""
GAP_SECONDS: Final = 0.1
OLD_SECONDS: Final = 15.0
"""The map is read again after this, so that nobody listens for ever to a node that has left."""
AWAY: Final = (RedisError, OSError, TimeoutError)
REDIRECTS: Final = (AskError, TryAgainError)


class NoCluster(RedisError):
    """The server was not started with cluster-enabled yes."""


class Cluster(Redis):
    """A client of the whole cluster, to be used like one of a single server, without transactions.

    Raises what the node answers, ConnectionError when it does not, ClusterError when a slot does not settle.
    """

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
        super().__init__(connection_pool=self.node(self._seeds[0]).connection_pool)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """One command."""
        return _all(await self.run([(args, options)]))[0]

    def pipeline(self, transaction: Any = False, shard_hint: str | None = None) -> Pipeline:
        """Commands that go out together, to each node what is its own. One without a key follows the one before it."""
        if transaction:
            raise ValueError("a pipeline over a cluster is no transaction")
        return _Together(self)

    def pubsub(self, **kwargs: Any) -> PubSub:
        """Any node hears what is published at another."""
        return self.node(random.choice(list(self._masters) or self._seeds)).pubsub(**kwargs)

    async def mget(self, keys: Any, *args: Any) -> Any:
        """Over several slots, as a plain client does on its one server."""
        names = (keys,) if isinstance(keys, str | bytes) else keys
        return _all(await self.run([(("GET", key), {}) for key in (*names, *args)]))

    async def delete(self, *names: Any) -> Any:
        """Over several slots."""
        return sum(_all(await self.run([(("DEL", name), {}) for name in names])))

    async def unlink(self, *names: Any) -> Any:
        """Over several slots."""
        return sum(_all(await self.run([(("UNLINK", name), {}) for name in names])))

    async def run(self, commands: Sequence[Queued]) -> list[Any]:
        """The answer or the error of each, in order. Raises only while no node has said yet where the slots are."""
        await self._known()
        wanted = list(slots.of_commands(commands))
        answers: list[Any] = [None] * len(commands)
        left: Sequence[int] = range(len(commands))
        asking: dict[int, Address] = {}
        for number in range(TRIES):
            groups: dict[tuple[Address | None, bool], list[int]] = {}
            for index in left:
                place = asking.get(index)
                groups.setdefault((place or self._slots[wanted[index]], place is not None), []).append(index)
            await asyncio.gather(*(self._put(*at, commands, group, answers) for at, group in groups.items()))
            left = [index for index in left if isinstance(answers[index], REDIRECTS)]
            if not left:
                return answers
            asking = {index: at for index in left if (at := self._led(wanted[index], answers[index])) is not None}
            if number or any(isinstance(answers[index], TryAgainError) for index in left):
                await asyncio.sleep(PAUSE)
        for index in left:
            answers[index] = ClusterError(f"the slot is being moved: {answers[index]}")
        return answers

    async def _put(
        self, at: Address | None, asking: bool, commands: Sequence[Queued], group: list[int], answers: list[Any]
    ) -> None:
        """What one node has to say; its silence is the answer to all of it."""
        found: list[Any]
        if at is None:
            found = [_nowhere()] * len(group)
        else:
            pipe = self.node(at).pipeline(transaction=False)
            for index in group:
                if asking:
                    pipe.command_stack.append((("ASKING",), {}))
                pipe.command_stack.append((commands[index][0], commands[index][1]))
            try:
                found = (await pipe.execute(raise_on_error=False))[asking :: 1 + asking]
            except AWAY as error:
                self.failed()
                found = [error] * len(group)
        if any(isinstance(one, ClusterDownError) for one in found):
            self.failed()
        for index, one in zip(group, found, strict=True):
            answers[index] = one

    def _led(self, slot: int, error: Exception) -> Address | None:
        """Where a redirect leads: for ASK to another node this once, else to who has the slot from now on."""
        if isinstance(error, MovedError):
            before = self._slots[slot] or self._seeds[0]
            self._slots[slot] = (error.host or before[0], error.port)
            self.unchecked = True
            self._masters.add(self._slots[slot] or before)
        elif isinstance(error, AskError):
            return (error.host, error.port)
        return None

    async def follow(self, slot: int, commands: Sequence[Command], error: Exception) -> list[Any]:
        """The answers to a packet of one slot that was redirected as a whole, on a connection of its own."""
        for _ in range(TRIES):
            place = self._led(slot, error)
            at = place or self._slots[slot]
            if at is None or isinstance(error, TryAgainError):
                await asyncio.sleep(PAUSE)
            if at is None:
                continue
            wire = Wire(self.node(at))
            try:
                answers = await wire.send([("ASKING",), *commands] if place else commands)
            finally:
                await wire.close()
            answers = answers[1:] if place else answers
            led = redirect(answers)
            if led is None:
                return answers
            error = led
        raise ClusterError(f"the slot is being moved: {error}")

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

    def failed(self) -> None:
        """A node did not answer, or would not: the slots may be elsewhere by now."""
        self._stale = self.unchecked = True
        self._look_again()

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
        await self._known()
        return [self.node(address) for address in sorted(self._masters)]

    async def owner(self, key: str) -> Redis:
        """The node that has a key."""
        await self._known()
        address = self._slots[slots.of_key(key)]
        if address is None:
            raise _nowhere()
        return self.node(address)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
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

    async def _known(self) -> None:
        """Go by the map that there is; only without any wait for one. A node that is away holds up nobody else."""
        if not self._masters:
            async with self._lock:
                if not self._masters:
                    await self._look()
        elif self._is_old():
            self._look_again()

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
        if before != self._masters:
            self.unchecked = True
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


class _Together(Pipeline):
    """Commands for several nodes."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, False, None)
        self._cluster = cluster

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """The answers in order. Where one node fails, what the others were given is done all the same."""
        commands, self.command_stack = self.command_stack, []
        answers = await self._cluster.run(commands)
        return _all(answers) if raise_on_error else answers


def redirect(answers: Iterable[Any]) -> Exception | None:
    """The first answer that says: not here, and not carried out."""
    return next((one for one in answers if isinstance(one, REDIRECTS)), None)


async def masters(client: Redis) -> list[Redis]:
    """The servers behind a client: itself, or the masters of its cluster."""
    return await client.masters() if isinstance(client, Cluster) else [client]


def is_unchecked(client: Redis) -> bool:
    """Whether a node of a cluster has to be looked at again as a start would."""
    return isinstance(client, Cluster) and client.unchecked


async def owner(client: Redis, key: str) -> Redis:
    """The server that has a key."""
    return await client.owner(key) if isinstance(client, Cluster) else client


def _nowhere() -> ClusterDownError:
    return ClusterDownError("CLUSTERDOWN no node has the slot")  # type: ignore[no-untyped-call]


def _all(answers: list[Any]) -> list[Any]:
    for one in answers:
        if isinstance(one, Exception):
            raise one
    return answers


def _refuse(error: Exception) -> NoReturn:
    if "cluster support disabled" in str(error):
        raise NoCluster(str(error)) from error
    raise error
