"""What Redis holds of a person beside the log: read models, live snapshots, counters of rate limits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from redis.asyncio import Redis

from db import cluster, keys, stream
from jobs.courses import models as course_models
from jobs.onboarding import rows as onboarding
from jobs.usage import view

_GLOB: Final = re.compile(r"([\\*?\[\]^-])")
SCANNED: Final = 1000


async def models(client: Redis, partitions: int, user_id: str) -> list[str]:
    """The keys of a user's read models, whether they are there or not; those of courses if they are."""
    subject = f"user:{user_id}"
    partition = stream.partition_of(subject, partitions)
    names = (
        onboarding.model_name(user_id),
        course_models.statistics_name(user_id),
        course_models.certificates_name(user_id),
        view.name(subject),
    )
    courses = _GLOB.sub(r"\\\1", keys.model(partition, course_models.course_name(user_id, ""))) + "*"
    server = await cluster.owner(client, courses)
    found = [key.decode() async for key in server.scan_iter(match=courses, count=SCANNED)]
    return [*(keys.model(partition, name) for name in names), *found]


async def forget(client: Redis, partitions: int, user_id: str) -> None:
    """Everything that Redis keeps under this user."""
    subject = f"user:{user_id}"
    partition = stream.partition_of(subject, partitions)
    await _unlink(client, [*await models(client, partitions, user_id), keys.live(partition, subject)])
    await client.zrem(keys.listened(partition), subject)
    for server in await cluster.masters(client):
        counted = [key async for key in server.scan_iter(match=f"*{keys.RATES}*", count=SCANNED)]
        await _unlink(client, [key for key in counted if subject.encode() in key])


async def forget_sessions(client: Redis, partition: int, sessions: Iterable[str], subjects: Iterable[str]) -> None:
    """Models and snapshots of sessions of one partition."""
    held = [keys.model(partition, f"session:{session}") for session in sessions]
    gone = sorted(set(subjects))
    await _unlink(client, held + [keys.live(partition, subject) for subject in gone])
    if gone:
        await client.zrem(keys.listened(partition), *gone)


async def _unlink(client: Redis, found: Sequence[str | bytes]) -> None:
    if found:
        await client.unlink(*found)
