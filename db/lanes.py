"""The log and the shared commands on Redis Cluster: a lane for each node; one that is away holds up no other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ClusterDownError

from db import appending, cluster, cluster_map, keys, slots, stream
from db.appending import Append, Log, Unavailable
from db.cluster import Cluster
from db.slots import Address
from db.wire import Command, Shared, Wire


def log(client: Redis, partitions: int, limit: int) -> Log:
    """The appending side, for one server or for a cluster."""
    return ClusterLog(client, partitions, limit) if isinstance(client, Cluster) else Log(client, partitions, limit)


def shared(client: Redis) -> Shared:
    """Commands of all concurrent requests in one packet, for one server or to each node of a cluster."""
    return ClusterShared(client) if isinstance(client, Cluster) else Shared(client)


class ClusterLog(Log):
    """A `Log` for each node. What spans several nodes is accepted when all of them have their part of it."""

    def __init__(self, client: Cluster, partitions: int, limit: int) -> None:
        super().__init__(client, partitions, limit)
        self.cluster = client
        self._slots = [slots.of_partition(partition) for partition in range(partitions)]
        self._lanes: dict[Address, _Lane] = {}

    def start(self) -> None:
        """Begin to flush, on the running loop."""
        self._loop = asyncio.get_running_loop()

    async def stop(self) -> None:
        """Let what has been appended go out, then stop; what comes now is refused."""
        self._closing = True
        await asyncio.gather(*(lane.stop() for lane in self._lanes.values()))

    def append(self, records: Iterable[tuple[int, bytes]]) -> asyncio.Future[str]:
        """As Log's. Where one node fails, the others may have their part: the same ids should be sent again."""
        self._admit()
        parts: dict[_Lane, list[tuple[int, bytes]]] = {}
        known: dict[int, list[tuple[int, bytes]]] = {}
        for record in records:
            part = known.get(record[0])
            if part is None:
                part = known[record[0]] = parts.setdefault(self._lane(record[0]), [])
            part.append(record)
        futures = [lane.append(part) for lane, part in parts.items()]
        return futures[0] if len(futures) == 1 else self._loop.create_task(_all(futures))

    def _lane(self, partition: int) -> _Lane:
        address = self.cluster.map.address(self._slots[partition])
        if address is None:
            self.cluster.map.failed()
            raise Unavailable("no node of the cluster has the partition")
        if address not in self._lanes:
            lane = self._lanes[address] = _Lane(self, self.cluster.map.node(address))
            lane.start()
        return self._lanes[address]


async def _all(futures: Sequence[asyncio.Future[str]]) -> str:
    found = await asyncio.gather(*futures, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    texts = [part for one in found if isinstance(one, str) for part in one.split(",") if part]
    return ",".join(sorted(texts, key=lambda text: int(text.partition(".")[0])))


class _Lane(Log):
    """What goes to one node: one packet for all of its partitions, each by itself in or not in."""

    def __init__(self, whole: ClusterLog, client: Redis) -> None:
        super().__init__(client, whole.partitions, whole.limit)
        self.whole = whole
        self.refusal = None
        self._failed: dict[int, Unavailable] = {}

    async def _flush(self, entries: list[tuple[int, list[bytes]]]) -> list[str]:
        self._failed = {}
        places: dict[int, list[int]] = {}
        for place, (partition, _) in enumerate(entries):
            places.setdefault(partition, []).append(place)
        packets = {one: self._packet(one, [entries[place][1] for place in held]) for one, held in places.items()}
        waits = self.whole.waits
        try:
            answers = await self._wire.send([*(one for packet in packets.values() for one in packet), *waits])
        except BaseException:
            self.whole.cluster.map.failed()
            raise
        reached = answers[len(answers) - len(waits) :]
        positions = [""] * len(entries)
        at = 0
        for partition, packet in packets.items():
            found = await self._settled(partition, packet, answers[at : at + len(packet)], reached)
            at += len(packet)
            for place, position in zip(places[partition], found, strict=True):
                if isinstance(position, Unavailable):
                    self._failed[place] = position
                else:
                    positions[place] = position
        return positions

    def _packet(self, partition: int, groups: Sequence[Sequence[bytes]]) -> list[Command]:
        commands: list[Command] = []
        for records in groups:
            body = stream.pack(records)
            self.whole.backlog += len(body)
            commands.append(("XADD", keys.actions(partition), "*", "b", body))
        return [("MULTI",), *commands, ("EXEC",)] if len(commands) > 1 else commands

    async def _settled(
        self, partition: int, packet: Sequence[Command], answers: list[Any], reached: list[Any]
    ) -> list[Any]:
        """The position of each entry of one partition, or why it may not be in. `reached`: what the waits said."""
        number = max(1, len(packet) - 2)
        waits = self.whole.waits
        try:
            if (led := cluster.redirect(answers)) is not None:
                # Of a master that became a replica no wait says anything: the ones of the node that takes it count.
                found = await self.whole.cluster.follow(slots.of_partition(partition), [*packet, *waits], led)
                answers, reached = found[: len(packet)], found[len(packet) :]
            if any(isinstance(one, ClusterDownError) for one in answers):
                self.whole.cluster.map.failed()
            appending.check(answers)
            appending.check_waits(reached, len(waits))
        except Unavailable as error:
            return [error] * number
        except cluster_map.AWAY as error:
            self.whole.cluster.map.failed()
            return [Unavailable(f"the log did not answer: {error}")] * number
        return [one.decode() for one in (answers[-1] if len(packet) > 1 else answers)]

    def _answer(self, callers: list[Append], entries: list[tuple[int, list[bytes]]], positions: list[str]) -> None:
        if self._failed:
            for caller in callers:
                error = next((self._failed[place] for place in caller[1] if place in self._failed), None)
                if error is not None:
                    self._fail([caller], error)
        super()._answer(callers, entries, positions)


class ClusterShared(Shared):
    """A `Shared` for each node."""

    def __init__(self, client: Cluster) -> None:
        super().__init__(client)
        self.cluster = client
        self._lanes: dict[Address, Shared] = {}

    def start(self) -> None:
        """Begin to send; the lanes begin when they are needed."""

    async def stop(self) -> None:
        """End; who still waits is told so."""
        await asyncio.gather(*(lane.stop() for lane in self._lanes.values()))

    def get(self, key: str) -> asyncio.Future[Any]:
        """As Shared's; raises at once where no node has the key."""
        return self._lane(key).get(key)

    def ask(self, command: Command) -> asyncio.Future[Any]:
        """As Shared's, for a command with a key."""
        return self._lane(slots.key(command) or "").ask(command)

    def _lane(self, key: str | bytes) -> Shared:
        address = self.cluster.map.address(slots.of_key(key))
        if address is None:
            self.cluster.map.failed()
            raise cluster_map.nowhere()
        if address not in self._lanes:
            lane = self._lanes[address] = Shared(self.cluster, _Following(self.cluster, self.cluster.map.node(address)))
            lane.start()
        return self._lanes[address]


class _Following(Wire):
    """A connection to one node; what it did not take is asked of the node that has it."""

    def __init__(self, whole: Cluster, client: Redis) -> None:
        super().__init__(client)
        self.cluster = whole

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """As Wire's."""
        try:
            answers = await super().send(commands)
        except BaseException:
            self.cluster.map.failed()
            raise
        for index, one in enumerate(answers):
            if isinstance(one, cluster.REDIRECTS):
                (answers[index],) = await self.cluster.run([(commands[index], {})])
            elif isinstance(one, ClusterDownError):
                self.cluster.map.failed()
        return answers
