"""A real cluster of three servers, or of three and their replicas: to be killed, started again, given other slots."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from db import connect, ports, slots, valkey_server

NODES = 3
PATIENCE = 60.0
PARTED = (0, 7800, 11_900, slots.NUMBER)
"""Of eight partitions three, two and three lie on a node."""
SETTINGS = {
    "bind": "127.0.0.1",
    "save": "",
    "appendonly": "yes",
    "appendfsync": "always",
    "cluster-enabled": "yes",
    "cluster-node-timeout": "2000",
    "cluster-require-full-coverage": "no",
    "repl-diskless-sync-delay": "0",
}


@dataclass
class Node:
    """One server on a folder of its own."""

    folder: Path
    port: int
    bus: int
    client: Redis
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again where it ended."""
        self.folder.mkdir(exist_ok=True)
        given = SETTINGS | {"port": str(self.port), "cluster-port": str(self.bus), "dir": str(self.folder)}
        words = [word for name, value in given.items() for word in (f"--{name}", value)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([valkey_server._binary(), *words], stdout=log, stderr=log)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def answers(self) -> None:
        """Wait until it does."""
        await until(self._is_there)

    async def ask(self, *words: Any) -> Any:
        """A command to this node alone."""
        return await self.client.execute_command(*words)  # type: ignore[no-untyped-call]

    async def info(self) -> dict[str, str]:
        """CLUSTER INFO."""
        lines = (await self.ask("CLUSTER", "INFO")).decode().split()
        return dict(line.split(":", 1) for line in lines)

    async def _is_there(self) -> bool:
        try:
            return bool(await self.client.ping())
        except (RedisError, OSError):
            return False


@dataclass
class Nodes:
    """The cluster; the masters come first."""

    nodes: list[Node]

    @property
    def url(self) -> str:
        """As MILEPOST_STREAM_URL names it."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    async def owner(self, slot: int) -> Node:
        """Who has a slot, as the last node knows it."""
        for first, last, (_, port, *_), *_ in await self.nodes[-1].ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise LookupError(slot)

    async def settled(self) -> None:
        """Wait until every node knows of every slot and takes commands."""
        for node in self.nodes:
            await until(lambda node=node: self._is_settled(node))

    async def _is_settled(self, node: Node) -> bool:
        info = await node.info()
        if (await node.client.info("replication")).get("master_link_status", "up") != "up":
            return False
        wanted = {"cluster_state": "ok", "cluster_slots_ok": str(slots.NUMBER), "cluster_size": str(NODES)}
        return {name: info[name] for name in wanted} == wanted

    async def move(self, slot: int, target: Node) -> None:
        """Give a slot and its keys to another node while it is in use, as resharding does."""
        await self.finish_move(slot, await self.begin_move(slot, target), target)

    async def begin_move(self, slot: int, target: Node) -> Node:
        """From now on what the source, which is returned, does not have is asked of the target."""
        source = await self.owner(slot)
        names = [(await node.ask("CLUSTER", "MYID")).decode() for node in (source, target)]
        await target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", names[0])
        await source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", names[1])
        return source

    async def finish_move(self, slot: int, source: Node, target: Node) -> None:
        """Take the keys over, and say to all who has the slot."""
        name = (await target.ask("CLUSTER", "MYID")).decode()
        while found := await source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10):
            await source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *found)
        for node in (target, source, *(one for one in self.nodes if one not in (source, target))):
            await node.ask("CLUSTER", "SETSLOT", slot, "NODE", name)


async def until(holds: Any) -> None:
    """Poll with a deadline."""
    async with asyncio.timeout(PATIENCE):
        while not await holds():  # noqa: ASYNC110 what is waited for is on a server
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running(folder: Path, *, replicas: bool = False) -> AsyncIterator[Nodes]:
    """Three nodes with the slots of PARTED, and a replica of each if wanted, until the block ends."""
    made: list[Node] = []
    try:
        for number in range(NODES * (1 + replicas)):
            port, bus = ports.free(), ports.free()
            node = Node(folder / f"node-{number}", port, bus, connect.redis(f"redis://127.0.0.1:{port}/0"))
            made.append(node)
            node.start()
        await _form(made)
        cluster = Nodes(made)
        await cluster.settled()
        for master, replica in zip(made, made[NODES:], strict=False):
            await replica.ask("CLUSTER", "REPLICATE", await master.ask("CLUSTER", "MYID"))
        await cluster.settled()
        yield cluster
    finally:
        for node in made:
            node.kill()
            await node.client.aclose()


async def _form(nodes: list[Node]) -> None:
    for number, node in enumerate(nodes):
        await node.answers()
        await node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        if number < NODES:
            await node.ask("CLUSTER", "ADDSLOTSRANGE", PARTED[number], PARTED[number + 1] - 1)
    for node in nodes[1:]:
        await node.ask("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, nodes[0].bus)
