"""What most sessions end with: configurations, and the choice in each category. Since the beginning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import asyncpg
import msgspec

from jobs.analytics.answers import QUERIES, Answer, share
from jobs.analytics.cells import BOT

CATEGORIES: Final = 100
"""Categories that an answer tells, those in which most sessions chose something."""


async def read(conn: asyncpg.Connection, limit: int, *, bots: bool = False) -> Answer:
    """Final configurations by how many sessions ended with them, and the last selection of each category."""
    people, robots = await _number(conn, "configured"), await _number(conn, BOT + "configured")
    number = people + robots if bots else people
    (configurations,) = await _ranked(conn, ["configuration"], limit, bots=bots)
    bodies = dict(await conn.fetch(QUERIES["configuration_bodies"], [digest for digest, _ in configurations]))
    return {
        "configuredSessions": number,
        "bots": 0 if bots else robots,
        "configurations": [
            {"configuration": msgspec.Raw(bodies[digest].encode()), "sessions": n, "share": share(n, number)}
            for digest, n in configurations
        ],
        "categories": await _categories(conn, limit, bots=bots),
    }


async def _categories(conn: asyncpg.Connection, limit: int, *, bots: bool) -> list[Answer]:
    (chosen,) = await _ranked(conn, ["chosen"], CATEGORIES, bots=bots)
    values = await _ranked(conn, ["choice:" + name for name, _ in chosen], limit, bots=bots)
    found = [
        {"category": name, "values": [{"value": value, "sessions": n, "share": share(n, number)} for value, n in own]}
        for (name, number), own in zip(chosen, values, strict=True)
    ]
    return sorted(found, key=lambda one: str(one["category"]))


async def _ranked(
    conn: asyncpg.Connection, measures: Sequence[str], limit: int, *, bots: bool
) -> list[list[tuple[str, int]]]:
    """(key, n) of each measure, the largest first. It reads what it answers, and all that bots count for."""
    beside = [BOT + name if bots else "" for name in measures]
    found: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for number, key, n in await conn.fetch(QUERIES["ranked"], list(measures), beside, limit):
        found[number].append((key, n))
    return [found[number] for number in range(1, len(measures) + 1)]


async def _number(conn: asyncpg.Connection, measure: str) -> int:
    number: int | None = await conn.fetchval(QUERIES["number"], measure)
    return number or 0
