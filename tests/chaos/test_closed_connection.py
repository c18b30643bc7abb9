"""A connection that is closed behind the client's back, under uvloop."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from redis import exceptions

from db import connect


def test_it_is_a_connection_error_and_the_next_try_works(redis_url: str) -> None:
    """A worker that woke up after 25 s met RuntimeError in its heartbeat, and ended."""
    uvloop.run(_close_and_use(redis_url))


async def _close_and_use(url: str) -> None:
    async with connect.redis(url) as client:
        await client.ping()
        (connection,) = client.connection_pool._available_connections
        writer: asyncio.StreamWriter = connection._writer  # type: ignore[assignment]
        writer.transport.abort()
        await writer.wait_closed()
        with pytest.raises(exceptions.ConnectionError):
            await connection.send_command("PING")
        assert await client.ping()
