"""The account of what people did: certificates, first times, referrals, rewards, and the webhooks that tell of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg
from redis.asyncio import Redis

from bench.chaos import check, learners
from bench.chaos.ledger import Ledger
from bench.chaos.receiver import Receiver
from bench.chaos.system import PARTITIONS, System, Violation
from db import keys, sql, stream
from jobs.courses import models as course_models
from jobs.effects import destinations
from jobs.onboarding import checklist
from jobs.onboarding import rows as onboarding

QUERIES: Final = sql.load((Path(__file__).parent / "learners.sql").read_text())
SHOWN: Final = 5
ENV: Final = {"MILEPOST_WEBHOOK_ALLOW": "127.0.0.0/8", "MILEPOST_WEBHOOK_TIMEOUT": "2"}
"""Webhooks may go to this machine, and a try that was broken off is made again after 12 s."""


async def prepare(system: System, receiver: Receiver) -> list[str]:
    """Courses, a webhook, and the codes of those who refer."""
    courses = [
        {"id": course, "title": course, "lessons": [{"id": lesson, "title": lesson} for lesson in lessons]}
        for course, lessons in learners.COURSES.items()
    ]
    headers = {"Authorization": f"Bearer {system.key}"}
    async with aiohttp.ClientSession(system.urls[0], headers=headers) as http:
        async with http.put("/v1/courses", json={"courses": courses}) as response:
            await _demand(response)
        codes = []
        for org in learners.REFERRERS:
            async with http.get("/v1/referrals/code", params={"orgId": org}) as response:
                codes.append((await _demand(response))["code"])
    conn = await system.conn()
    try:
        async with conn.transaction():
            await destinations.create(conn, receiver.url, [], "chaos")
    finally:
        await conn.close()
    return codes


async def _demand(response: aiohttp.ClientResponse) -> Any:
    body = await response.json()
    if response.status != 200:
        raise Violation(f"{response.method} {response.url.path}: {response.status} {body}")
    return body


async def settled(system: System, seconds: float) -> float:
    """Until no action, no follow-up and no delivery waits; how long it took. Violation when for `seconds` none ends.

    How many end in a second is for the machine to say: with a dozen other processes at work, ten deliveries.
    """
    began = moved = time.monotonic()
    conn = await system.conn()
    try:
        ended = -1
        # A follow-up leaves its table when it is in the log: first the table, then the log.
        while await conn.fetchval(QUERIES["waiting"]) or await _in_the_log(system):
            now, before = time.monotonic(), ended
            ended = await conn.fetchval(QUERIES["ended"])
            moved = now if ended > before else moved
            if now - moved > seconds:
                left = [dict(row) for row in await conn.fetch(QUERIES["undelivered"])]
                raise Violation(f"nothing ended for {seconds:g} s, and these wait: {left}; logs in {system.logs}")
            await asyncio.sleep(0.1)
    finally:
        await conn.close()
    return time.monotonic() - began


async def _in_the_log(system: System) -> bool:
    async with system.redis() as redis:
        return any((await check.lengths(redis)).values())


async def account(system: System, ledger: Ledger, codes: list[str], receiver: Receiver) -> dict[str, int]:
    """Compare everything; the figures, or Violation."""
    wanted = learners.expected(ledger.learned.values(), codes)
    sets = {name: getattr(wanted, name) for name in ("firsts", "lessons", "certificates", "referrals", "rewards")}
    sets |= {"effects": wanted.effects, "ids": {(one,) for one in ledger.learned}}
    conn = await system.conn()
    try:
        problems: list[str] = []
        for name, rows in sets.items():
            problems += _compare(name, Counter(map(tuple, await conn.fetch(QUERIES[name]))), rows)
        unacknowledged = ledger.learned.keys() - ledger.acked
        problems += [f"never acknowledged: {sorted(unacknowledged)[:SHOWN]}"] if unacknowledged else []
        messages = Counter((row[0],) for row in await conn.fetch(QUERIES["messages"]))
        problems += _compare("messages delivered", Counter({(name,): 1 for name in receiver.messages}), set(messages))
        problems += [f"webhooks that came with two bodies: {receiver.changed[:SHOWN]}"] if receiver.changed else []
        async with system.redis() as redis:
            problems += await _stale(conn, redis)
    finally:
        await conn.close()
    if problems:
        ledger.write(system.folder / "ledger.json")
        raise Violation("\n".join([*problems, f"ledger: {system.folder}/ledger.json, logs: {system.logs}"]))
    more = sum(receiver.times.values()) - len(receiver.messages)
    figures = {name: len(rows) for name, rows in sets.items() if name not in {"ids", "effects"}}
    return {"learned": len(ledger.learned), **figures, "webhooks": len(receiver.messages), "sent again": more}


def _compare(name: str, found: Counter[Any], wanted: set[Any]) -> list[str]:
    """What is missing, what is there and should not be, what is there twice."""
    parts = {
        "missing": wanted - found.keys(),
        "too many": found.keys() - wanted,
        "twice": {one for one, times in found.items() if times > 1},
    }
    return [f"{name}: {len(ones)} {what}: {sorted(map(str, ones))[:SHOWN]}" for what, ones in parts.items() if ones]


async def _stale(conn: asyncpg.Connection, redis: Redis) -> list[str]:
    """Read models in Redis that differ from what Postgres says."""
    users = await conn.fetch(QUERIES["people"])
    stale = []
    for (user,) in users:
        place = stream.partition_of(f"user:{user}", PARTITIONS)
        for name, body in (await _models(conn, user)).items():
            held = await redis.get(keys.model(place, name))
            # The order of a mapping's keys is no part of it.
            if held and (body is None or json.loads(held) != json.loads(body)):
                stale.append(f"{name}: {held!r} against {body!r}")
    return [f"{len(stale)} stale read models: {stale[:2]}"] if stale else []


async def _models(conn: asyncpg.Connection, user: str) -> dict[str, bytes | None]:
    lists = await onboarding.load(conn, [user])
    found: dict[str, bytes | None] = {
        onboarding.model_name(user): checklist.encode(lists[user]) if user in lists else None,
        course_models.statistics_name(user): await course_models.load_statistics(conn, user),
        course_models.certificates_name(user): await course_models.load_certificates(conn, user),
    }
    for course in learners.COURSES:
        found[course_models.course_name(user, course)] = await course_models.load_course(conn, user, course)
    return found
