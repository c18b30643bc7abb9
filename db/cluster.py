"""Redis Cluster: a plain client for each node, and every command on the node of its slot.

A command that a node did not take (MOVED, ASK, TRYAGAIN) is sent on; one that may have been carried out never is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline, PubSub
from redis.exceptions import AskError, ClusterDownError, ClusterError, MovedError, TryAgainError

from db import slots
from db.cluster_map import AWAY, Map, nowhere
from db.slots import Address, Queued
from db.wire import Command, Wire

TRIES: Final = 12
PAUSE: Final = 0.05
"""Seconds before a slot that is just being moved is asked again: half a second in all."""
REDIRECTS: Final = (AskError, TryAgainError)


class Cluster(Redis):
    """A client of the whole cluster, to be used like one of a single server, without transactions.

    Raises what the node answers, ConnectionError when it does not, ClusterError when a slot does not settle.
    """

    def __init__(self, url: str, make: Callable[[str], Redis]) -> None:
        """`make`: a plain client of the node with this URL."""
        self.map = Map(url, make)
        super().__init__(connection_pool=self.map.anyone().connection_pool)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close all connections."""
        await self.map.close()

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
        return self.map.anyone().pubsub(**kwargs)

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
        await self.map.known()
        wanted = list(slots.of_commands(commands))
        answers: list[Any] = [None] * len(commands)
        left: Sequence[int] = range(len(commands))
        asking: dict[int, Address] = {}
        for number in range(TRIES):
            groups: dict[tuple[Address | None, bool], list[int]] = {}
            for index in left:
                place = asking.get(index)
                groups.setdefault((place or self.map.address(wanted[index]), place is not None), []).append(index)
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
            found = [nowhere()] * len(group)
        else:
            pipe = self.map.node(at).pipeline(transaction=False)
            for index in group:
                if asking:
                    pipe.command_stack.append((("ASKING",), {}))
                pipe.command_stack.append((commands[index][0], commands[index][1]))
            try:
                found = (await pipe.execute(raise_on_error=False))[asking :: 1 + asking]
            except AWAY as error:
                self.map.failed()
                found = [error] * len(group)
        if any(isinstance(one, ClusterDownError) for one in found):
            self.map.failed()
        for index, one in zip(group, found, strict=True):
            answers[index] = one

    def _led(self, slot: int, error: Exception) -> Address | None:
        """Where a redirect leads: for ASK to another node this once, else to who has the slot from now on."""
        if isinstance(error, MovedError):
            self.map.moved(slot, error)
        elif isinstance(error, AskError):
            return (error.host, error.port)
        return None

    async def follow(self, slot: int, commands: Sequence[Command], error: Exception) -> list[Any]:
        """The answers to a packet of one slot that was redirected as a whole, on a connection of its own."""
        for _ in range(TRIES):
            place = self._led(slot, error)
            at = place or self.map.address(slot)
            if at is None or isinstance(error, TryAgainError):
                await asyncio.sleep(PAUSE)
            if at is None:
                continue
            wire = Wire(self.map.node(at))
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
    return await client.map.masters() if isinstance(client, Cluster) else [client]


def is_unchecked(client: Redis) -> bool:
    """Whether a node of a cluster has to be looked at again as a start would."""
    return isinstance(client, Cluster) and client.map.unchecked


async def owner(client: Redis, key: str) -> Redis:
    """The server that has a key."""
    return await client.map.owner(key) if isinstance(client, Cluster) else client


def _all(answers: list[Any]) -> list[Any]:
    for one in answers:
        if isinstance(one, Exception):
            raise one
    return answers
