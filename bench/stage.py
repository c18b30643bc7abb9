"""The stage of a measurement: embedded servers, and Milepost's processes on them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from redis.asyncio import Redis

from db import connect, days, keys, migrate, service_keys
from db.embedded import Urls

JWT_SECRET = "a secret of the bench, never of anything else"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Stage:
    """Where everything is."""

    urls: Urls
    key: str


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def prepare(urls: Urls) -> Stage:
    """Migrations, day partitions, and a service key."""
    conn = await connect.postgres(urls.database_url)
    try:
        await migrate.up(conn)
        await days.make(conn)
        key = await service_keys.create(conn, "bench", ("ingest", "read", "admin"))
    finally:
        await conn.close()
    return Stage(urls, key)


@contextmanager
def process(stage: Stage, *argv: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python argv…` with the stage's settings, ended with the block."""
    settings = {
        "MILEPOST_DATABASE_URL": stage.urls.database_url,
        "MILEPOST_REDIS_URL": stage.urls.redis_url,
        "MILEPOST_JWT_SECRET": JWT_SECRET,
        "MILEPOST_LOG_LEVEL": "warning",
        "MILEPOST_SHED_ABOVE": "0",
        **env,
    }
    running = subprocess.Popen([sys.executable, *argv], env={**os.environ, **settings})
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(15)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def await_http(url: str, seconds: float = 20.0) -> None:
    """Until something answers there, whatever it answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


async def applied(conn: asyncpg.Connection, table: str, rows: int, seconds: float = 120.0) -> float:
    """Wait until a fact table holds `rows`; when that was, on the clock of perf_counter."""
    deadline = time.perf_counter() + seconds
    while await conn.fetchval(f"SELECT count(*) FROM {table}") < rows:
        if time.perf_counter() > deadline:
            raise TimeoutError(f"{table} does not reach {rows} rows")
        await asyncio.sleep(0.02)
    return time.perf_counter()


async def draining(stage: Stage, seconds: float = 20.0) -> None:
    """Until a worker has said that it lives."""
    client = Redis.from_url(stage.urls.redis_url)
    await client.delete(keys.WORKERS)
    deadline = time.monotonic() + seconds
    while not await client.exists(keys.WORKERS):
        if time.monotonic() > deadline:
            raise TimeoutError("no worker came up")
        await asyncio.sleep(0.05)
    await client.aclose()


def cpu(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def family_cpu(pid: int) -> float:
    """CPU seconds of a process, of its children, and of those that have ended."""
    living = 0.0
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(FileNotFoundError):  # it ends just now, and is among the others below
            living += cpu(int(child))
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return living + sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def peak_memory(pid: int) -> int:
    """The most bytes of memory that a process has held."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


async def quiet(stage: Stage, partitions: int = 8, seconds: float = 120.0) -> None:
    """Until everything in the log is applied."""
    client = Redis.from_url(stage.urls.redis_url)
    deadline = time.monotonic() + seconds
    while sum(await asyncio.gather(*(client.xlen(keys.actions(partition)) for partition in range(partitions)))):
        if time.monotonic() > deadline:
            raise TimeoutError("the log does not empty")
        await asyncio.sleep(0.05)
    await client.aclose()
