"""What the API is compared with: aiohttp with a handler that does nothing but the one thing that cannot be left out.

`python -m bench.bare PORT REDIS_URL`: POST /v1/actions reads the body, POST /v1/usage/consume counts in Redis, too;
GET /v1/sessions/{key} does one Redis GET.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web
from redis.asyncio import Redis

ANSWER = b'{"accepted":1,"rejected":[],"ids":["01a1fd77-e14c-75a1-a98b-eebb56d64bf9"],"position":"3.1763712000000-0"}'
DECISION = (
    b'{"allowed":true,"action":"API_CALL","used":1234,"reserved":0,"limit":1000000000,"remaining":999998766,'
    b'"percentage":0,"unlimited":false,"resetsAt":"2026-12-01T00:00:00Z","warning":null,"plan":"FREE","quantity":1}'
)


async def read_body(request: web.Request) -> web.Response:
    """Read the body, answer as many bytes as Milepost does."""
    await request.read()
    return web.Response(body=ANSWER, status=202, content_type="application/json")


async def serve(port: int, redis_url: str) -> None:
    """Listen until killed."""
    redis = Redis.from_url(redis_url)

    async def read_key(request: web.Request) -> web.Response:
        return web.Response(body=await redis.get(request.match_info["key"]), content_type="application/json")

    async def count(request: web.Request) -> web.Response:
        await request.read()
        await redis.incr("bench:consumed")
        return web.Response(body=DECISION, content_type="application/json")

    app = web.Application()
    app.router.add_post("/v1/actions", read_body)
    app.router.add_post("/v1/usage/consume", count)
    app.router.add_get("/v1/sessions/{key}", read_key)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
