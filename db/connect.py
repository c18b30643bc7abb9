"""Connections to Postgres and Redis with the time-outs that keep a dead peer from holding anything."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg
from redis import exceptions
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.cluster import ClusterParser
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from db import cluster, slots
from db.settings import Settings

# A half-open connection must not hold a partition: Postgres ends a transaction that idles, and notices a dead peer.
_GUARDS = {
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15s",
}


def _server_settings(name: str) -> dict[str, str]:
    return {"application_name": name, "timezone": "UTC", **_GUARDS}


class _Connection(asyncpg.Connection):  # type: ignore[misc]
    """Its statements have names that no other process gives.

    A cursor needs a named one. Behind a pgbouncer many processes share a server's connections, and what one leaves
    there would be in the way of the next, since asyncpg counts from 1 in each process.
    """

    __slots__ = ()

    def _get_unique_id(self, prefix: str) -> str:
        return f"{super()._get_unique_id(prefix)}{_PROCESS}"


_PROCESS = secrets.token_hex(6)


async def postgres(url: str, name: str = "milepost", timeout: float = 10) -> asyncpg.Connection:
    """One connection of its own, named `name` in pg_stat_activity. It keeps no statements: it may go to a pgbouncer."""
    return await asyncpg.connect(
        url,
        timeout=timeout,
        statement_cache_size=0,
        server_settings=_server_settings(name),
        connection_class=_Connection,
    )


async def pool(settings: Settings, name: str, size: int, url: str | None = None) -> asyncpg.Pool:
    """A pool that connects when first used: a process may start while Postgres is away."""
    kwargs: Mapping[str, Any] = {"statement_cache_size": settings.statement_cache_size}
    return await asyncpg.create_pool(
        url or settings.database_url,
        min_size=0,
        max_size=size,
        timeout=5,
        command_timeout=settings.apply_timeout,
        max_inactive_connection_lifetime=60,
        server_settings=_server_settings(name),
        reset=_as_it_is,
        connection_class=_Connection,
        **kwargs,
    )


async def _as_it_is(conn: asyncpg.Connection) -> None:
    """Nothing of ours outlives its transaction (SET LOCAL, transaction locks), so that there is nothing to reset.

    asyncpg's own way is one more trip at each release: of a batch's fifteen, and 2 % of the CPU of a busy worker.
    """


@dataclass(slots=True)
class Server:
    """The Redis server that the newest connection of a client reached: another run id may have lost data."""

    run_id: str = ""
    is_many: bool = False
    """A cluster, whose nodes are asked for their run id with each read of a partition."""

    async def note(self, connection: AbstractConnection) -> None:
        """Read the run id before a new connection is used for anything else."""
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        found = _RUN_ID.search(await connection.read_response())
        self.run_id = found[1].decode() if found else ""


_RUN_ID = re.compile(rb"run_id:(\w+)")


def redis(url: str, *, timeout: float = 5.0, connections: int = 64, server: Server | None = None) -> Redis:
    """A client with time-outs and no hidden retries: a write that may have happened must not be sent again unseen.

    `connections`: at most so many, of a cluster to each node.
    """
    if slots.speaks(url):
        if server is not None:
            server.is_many = True
        return cluster.Cluster(url, lambda node: _single(node, timeout, connections, parser_class=ClusterParser))
    return _single(url, timeout, connections, redis_connect_func=server.note if server else None)


def _single(url: str, timeout: float, connections: int, **options: Any) -> Redis:
    client: Redis = Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=2.0,
        socket_keepalive=True,
        max_connections=connections,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        **options,
    )
    honest(client.connection_pool)
    return client


def honest(pool: ConnectionPool) -> None:
    """Let its connections say of one that was closed what redis-py says, whatever the loop."""
    pool.connection_class = type("Connection", (_Honest, pool.connection_class), {})


class _Honest(AbstractConnection):
    """uvloop's word for a connection that was closed behind our back is RuntimeError, which nobody expects of Redis."""

    __slots__ = ()

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send; ConnectionError when the connection is closed, whatever the loop."""
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            raise exceptions.ConnectionError(str(error)) from error
