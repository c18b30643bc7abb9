"""A receiver of webhooks, as its users are told to write one: it dedupes by `webhook-id`."""

from __future__ import annotations

import json
from collections import defaultdict
from types import TracebackType
from typing import Any, Final, Self
from zlib import crc32

from aiohttp import web

BREAKS: Final = 40
"""One new message of so many is taken, and its answer lost: it comes again."""


class Receiver:
    """Listens on 127.0.0.1 while the block lasts. Use it as `async with`."""

    def __init__(self) -> None:
        """Nothing listens yet."""
        self.messages: dict[str, Any] = {}
        """webhook-id -> the body."""
        self.times: dict[str, int] = defaultdict(int)
        """webhook-id -> how often it came."""
        self.changed: list[str] = []
        """Ids that came with two bodies."""
        self.url = ""

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Listen no longer."""
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        name, body = request.headers["webhook-id"], json.loads(await request.read())
        self.times[name] += 1
        if self.messages.setdefault(name, body) != body:
            self.changed.append(name)
        if self.times[name] == 1 and crc32(name.encode()) % BREAKS == 0 and request.transport is not None:
            request.transport.abort()
        return web.Response()
