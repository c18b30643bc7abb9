"""Whether this process lives, whether it can take actions, and its figures."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from aiohttp import web
from redis.exceptions import RedisError

from api.state import STATE, State
from db import keys, metrics, stream

DRAINING_SECONDS = 15.0


async def live(_: web.Request) -> web.Response:
    """GET /livez: the process answers."""
    return web.json_response({"status": "alive"})


async def ready(request: web.Request) -> web.Response:
    """GET /readyz: 200 when Redis takes actions and some worker drains; 503 with what is missing."""
    checks = await _checks(request.app[STATE])
    missing = [name for name, passed in checks.items() if not passed]
    body = {"status": "ready" if not missing else "not ready", "checks": checks}
    headers = {"Retry-After": "1"} if missing else {}
    return web.json_response(body, status=503 if missing else 200, headers=headers)


async def _checks(state: State) -> dict[str, bool]:
    if not state.ready or state.log.refusal is not None:
        return {"log": False, "drain": False}
    try:
        beats = await state.redis.execute_command("HVALS", keys.WORKERS)  # type: ignore[no-untyped-call]
    except (RedisError, OSError):
        return {"log": False, "drain": False}
    return {"log": True, "drain": any(_fresh(msgspec.json.decode(beat)) for beat in beats)}


def _fresh(beat: dict[str, Any]) -> bool:
    return time.time() - float(beat["at"]) < DRAINING_SECONDS and beat["failure"] is None


async def exposition(request: web.Request) -> web.Response:
    """GET /metrics: Prometheus text, with backlog and lag of each partition, and the deliveries that wait."""
    state = request.app[STATE]
    try:
        await _look(state)
    except (RedisError, OSError):
        metrics.unseen()
    return web.Response(body=metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})


async def _look(state: State) -> None:
    partitions = state.log.partitions
    sizes, lags = await stream.size(state.redis, partitions), await stream.lags(state.redis, partitions)
    for partition, (held, lag) in enumerate(zip(sizes, lags, strict=True)):
        metrics.BACKLOG.labels(partition).set(held)
        metrics.LAG.labels(partition).set(lag)
    counted: bytes | None = await state.redis.get(keys.DELIVERIES)
    metrics.deliveries(msgspec.json.decode(counted) if counted else [])
    for table, number in (await state.redis.hgetall(keys.DIFFERING)).items():  # type: ignore[misc]
        metrics.DIFFERING.labels(table.decode()).set(int(number))
    metrics.ASIDE.set(int(await state.redis.get(keys.ASIDE) or 0))
