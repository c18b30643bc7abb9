"""The rows about progress: a checklist read from the cache, and an update that waits for its outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final

import msgspec
from redis.asyncio import Redis

from bench import load, rows, stage
from bench.rows import ROUNDS, Row
from bench.stage import Stage
from db import keys, stream

USERS: Final = 2000
UPDATERS: Final = 40_000
"""So many that nobody comes near the 50 updates a minute that one user may send."""
GOAL: Final = ">= 0.9, p99 < 10 ms"
AGAINST: Final = "bare aiohttp handler with one Redis GET"
UNLIMITED: Final = {"MILEPOST_RATE_LIMIT_READ": "", "MILEPOST_RATE_LIMIT_UPDATE": ""}


def update(user: int) -> bytes:
    """An update of a checklist, as a service sends it for a user."""
    body = {"action": "created_clip", "projectId": "project-1", "metadata": {"clipCount": 3}, "userId": _name(user)}
    return msgspec.json.encode(body)


def _name(user: int) -> str:
    return f"user-{user:06d}"


async def read(st: Stage) -> tuple[Row, Row]:
    """GET /v1/onboarding/progress from Redis: as it stands by default, with its limit per user, and without one."""
    limited = Row("cached read of a checklist, limited per user", AGAINST, GOAL)
    free = Row("cached read of a checklist, without a limit", AGAINST, GOAL)
    await _measure_read(st, limited, {"MILEPOST_RATE_LIMIT_READ": "100000/minute"})
    await _measure_read(st, free, UNLIMITED)
    return limited, free


async def _measure_read(st: Stage, row: Row, env: Mapping[str, str]) -> None:
    with ExitStack() as stack:
        (api, _), (bare, _) = rows.servers(st, stack, **env)
        with stage.process(st, "-m", "worker"):
            await stage.draining(st)
            posts = [_post(st, number) for number in range(USERS)]
            rows.demand(await load.drive(api, posts, count=USERS, seconds=60), 200)
        await _copy(st)
        ours_of = [_get(st, f"/v1/onboarding/progress?userId={_name(number)}") for number in range(USERS)]
        theirs_of = [_get(st, f"/v1/sessions/{_name(number)}") for number in range(USERS)]
        ours, theirs, p99s = [], [], []
        for _ in range(ROUNDS):
            theirs.append((await load.drive(bare, theirs_of)).rate)
            us = await load.drive(api, ours_of)
            rows.demand(us, 200)
            ours.append(us.rate)
            p99s.append((await load.drive(api, ours_of, rate=us.rate / 2)).quantile(0.99))
    rows.reads(row, ours, theirs, p99s)


async def waited(st: Stage) -> Row:
    """POST /v1/onboarding/progress/update at half its top rate; every answer holds its outcome."""
    row = Row("update of a checklist that waits, at half the top rate", "", "p95 < 50 ms")
    posts = [_post(st, number) for number in range(UPDATERS)]
    with ExitStack() as stack:
        (api, _), _ = rows.servers(st, stack)
        stack.enter_context(stage.process(st, "-m", "worker"))
        await stage.draining(st)
        top = await load.drive(api, posts, connections=128)
        rows.demand(top, 200)
        await stage.quiet(st)
        half = await load.drive(api, posts[UPDATERS // 2 :], connections=128, rate=top.rate / 2, seconds=5)
        rows.demand(half, 200)
    p95 = half.quantile(0.95)
    row.ours = f"p50 {half.quantile(0.5) * 1e3:.1f} ms, p95 {p95 * 1e3:.1f} ms at {top.rate / 2:,.0f}/s"
    row.result, row.reached = f"{p95 * 1e3:.0f} ms", p95 < 0.05
    row.detail = {"top": top.rate}
    return row


def _post(st: Stage, user: int) -> bytes:
    return load.request("POST", "/v1/onboarding/progress/update", st.key, update(user))


def _get(st: Stage, path: str) -> bytes:
    return load.request("GET", path, st.key)


async def _copy(st: Stage) -> None:
    """The same bytes under the names that the bare handler reads."""
    client = Redis.from_url(st.urls.redis_url)
    names = [_name(number) for number in range(USERS)]
    models = [keys.model(stream.partition_of(f"user:{name}", 8), f"onboarding:{name}") for name in names]
    bodies = await client.mget(models)
    await asyncio.gather(*(client.set(name, body or b"") for name, body in zip(names, bodies, strict=True)))
    await client.aclose()
