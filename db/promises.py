"""What a start demands of Redis, so that an acknowledgement means what `MILEPOST_DURABILITY` says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from db import cluster, cluster_map, log
from db.settings import Durability

logger = log.get("promises")

WAIT_MS: Final = 2000
"""How long an acknowledgement may wait for the disk or the replica before the answer is 503."""


class Misconfigured(Exception):
    """This Redis cannot keep what an acknowledgement promises; the message says what to set."""


async def demand(client: Redis, durability: Durability) -> list[tuple[str | int, ...]]:
    """Check that this Redis keeps what it is given; the wait commands that `durability` needs after each flush.

    Of a cluster every master is looked at. Raises Misconfigured, and RedisError when a server is away. Where CONFIG is
    forbidden it warns and believes.
    """
    try:
        servers = await cluster.masters(client)
    except cluster_map.NoCluster as error:
        raise Misconfigured(f"{error}: write its URL as redis://…") from None
    if isinstance(client, cluster.Cluster):
        with client.map.checking():
            return await _of_all(servers, durability)
    if (await client.info("cluster")).get("cluster_enabled"):
        raise Misconfigured("this Redis is part of a cluster: write MILEPOST_STREAM_URL as redis+cluster://host:port,…")
    return await _of_all(servers, durability)


async def _of_all(servers: Sequence[Redis], durability: Durability) -> list[tuple[str | int, ...]]:
    """The waits of the one that needs most."""
    return max([await _promise(server, durability) for server in servers], key=len)


async def _promise(client: Redis, durability: Durability) -> list[tuple[str | int, ...]]:
    try:
        config = await client.config_get("maxmemory-policy", "appendonly", "appendfsync")  # type: ignore[arg-type]
    except ResponseError:
        logger.warning("CONFIG is forbidden: make sure of maxmemory-policy noeviction and appendfsync always")
        return [("WAIT", 1, WAIT_MS)] if durability == "replica" else []
    if (policy := config.get("maxmemory-policy", "noeviction")) != "noeviction":
        raise Misconfigured(
            f"Redis evicts keys (maxmemory-policy {policy}) and would lose actions: "
            "CONFIG SET maxmemory-policy noeviction"
        )
    waits: list[tuple[str | int, ...]] = []
    if durability != "memory":
        if config.get("appendonly", "yes") != "yes":
            raise Misconfigured(
                f"durability {durability} needs Redis with appendonly yes; or set MILEPOST_DURABILITY=memory"
            )
        if config.get("appendfsync", "always") != "always":
            await _demand_waitaof(client)
            waits.append(("WAITAOF", 1, 0, WAIT_MS))
    if durability == "replica":
        waits.append(("WAIT", 1, WAIT_MS))
    return waits


async def _demand_waitaof(client: Redis) -> None:
    try:
        await client.execute_command("WAITAOF", 0, 0, 1)  # type: ignore[no-untyped-call]
    except ResponseError:
        raise Misconfigured(
            "durability fsync needs appendfsync always, or a Redis >= 7.2 or Valkey that knows WAITAOF"
        ) from None
