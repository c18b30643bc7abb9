"""A process that forks children, each of which ends by SIGKILL at a command that it sends."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from db.settings import Settings

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def victim(module: str, settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process, `python -m` this module, on the test's servers."""
    names = ("database_url", "redis_url", "partitions", "durability")
    env = os.environ | {f"MILEPOST_{name}".upper(): str(getattr(settings, name)) for name in names}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
        env=env,
    )
    yield process
    process.kill()
    await process.wait()


async def ended(process: asyncio.subprocess.Process, number: int, when: str, seconds: float) -> str:
    """How a child that dies at its command of this number, `before` or `sent`, ended; within so many seconds."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{number} {when}\n".encode())
    async with asyncio.timeout(seconds):
        return (await process.stdout.readline()).decode().strip()
