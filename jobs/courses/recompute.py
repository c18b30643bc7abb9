"""A course that changed: a `course.changed` for every user of it, through the pipe like any other action."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from jobs.action import OURS, Action
from jobs.courses import undescribed
from jobs.courses.catalog import QUERIES

CHUNK: Final = 1000


async def run(pool: asyncpg.Pool, now: datetime, chunk: int = CHUNK) -> int:
    """Write the actions of all changed courses; how many.

    Users come in order, and how far it came is kept with each chunk: a run that dies is continued by the next.
    """
    number = 0
    while (written := await _chunk(pool, now, chunk)) is not None:
        number += written
    return number


async def _chunk(pool: asyncpg.Pool, now: datetime, size: int) -> int | None:
    async with pool.acquire() as conn, conn.transaction():
        row = await conn.fetchrow(QUERIES["lock_pending"])
        if row is None:
            return None
        course_id, version = row["course_id"], row["version"]
        users = [one[0] for one in await conn.fetch(QUERIES["page_users"], course_id, row["watermark"], size)]
        await undescribed.again(conn, [changed(user_id, course_id, version, now) for user_id in users])
        ended = len(users) < size
        await conn.execute(QUERIES["move_watermark"], course_id, "" if ended else users[-1], not ended)
    return len(users)


def changed(user_id: str, course_id: str, version: int, now: datetime) -> Action:
    """The action that reckons a user's progress anew; its id is the same however often it is made."""
    data: dict[str, Any] = {"courseId": course_id, "version": version}
    action_id = f"{OURS}course:{course_id}:{version}"
    return Action(action_id, "course.changed", f"user:{user_id}", now, now, 0, msgspec.json.encode(data), user_id)
