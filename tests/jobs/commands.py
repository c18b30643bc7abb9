"""`python -m jobs …` as an operator runs it, and a door that misbehaves in front of the API."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from db import stream
from tests.api.service import Service

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


class Ran(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


class Operator:
    """Somebody with a shell, the URLs in the environment, and a state folder."""

    def __init__(self, service: Service, state: Path) -> None:
        settings = service.settings
        state.mkdir()
        self.state = state
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("MILEPOST_")} | {
            "STATE": str(state),
            "MILEPOST_URL": str(service.client.make_url("")).rstrip("/"),
            "MILEPOST_KEY": service.key,
            "MILEPOST_DATABASE_URL": settings.database_url,
            "MILEPOST_REDIS_URL": settings.redis_url,
            "MILEPOST_PARTITIONS": str(settings.partitions),
            "MILEPOST_DURABILITY": "memory",
        }

    async def start(self, *words: str, module: str = "jobs", **env: str) -> asyncio.subprocess.Process:
        """A process of the command."""
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *words), cwd=ROOT, env=self.env | env, stdin=pipe, stdout=pipe, stderr=pipe
        )

    async def run(self, *words: str, stdin: bytes = b"", module: str = "jobs", **env: str) -> Ran:
        """The command from start to end; a traceback is never what an operator sees."""
        process = await self.start(*words, module=module, **env)
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate(stdin)
        assert b"Traceback" not in err, err.decode()
        assert process.returncode is not None
        return Ran(process.returncode, out.decode(), err.decode())


Forward = Callable[[], Awaitable[web.Response]]
Whim = Callable[[int, Forward], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def door(service: Service, whim: Whim) -> AsyncIterator[str]:
    """The URL of a door before the API that does as `whim(number of the request, forward)` says."""
    number = 0

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal number
        number += 1
        body, target = await request.read(), service.client.make_url(request.path_qs)
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}

        async def forward() -> web.Response:
            async with session.request(request.method, target, data=body, headers=headers) as response:
                return web.Response(
                    body=await response.read(), status=response.status, content_type=response.content_type
                )

        return await whim(number, forward)

    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", handle)
    async with aiohttp.ClientSession() as session, TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Poll with a deadline."""
    async with asyncio.timeout(PATIENCE):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def settled(service: Service) -> None:
    """Until the log is drained to its end."""

    async def drained() -> bool:
        partitions = range(service.settings.partitions)
        applied = await stream.applied(service.redis, partitions)
        return all([await stream.last_position(service.redis, one) <= applied[one] for one in partitions])

    await until(drained)
