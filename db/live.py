"""Live snapshots of a subject: a short Redis stream each, and a channel that tells of new ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from redis.asyncio import Redis

from db import keys

KEPT: Final = 64
"""Snapshots kept of a subject, about: who was away for longer begins with the state as it is."""
KEPT_SECONDS: Final = 3600


async def publish(client: Redis, partition: int, snapshots: Iterable[tuple[str, str, bytes]]) -> None:
    """(subject, event, JSON body), in order, in one trip. A snapshot may come twice: the newest is the state."""
    pipe = client.pipeline(transaction=False)
    subjects: dict[str, None] = {}
    for subject, event, body in snapshots:
        pipe.xadd(keys.live(partition, subject), {"event": event, "body": body}, maxlen=KEPT, approximate=True)
        subjects[subject] = None
    for subject in subjects:
        pipe.expire(keys.live(partition, subject), KEPT_SECONDS)
        pipe.publish(keys.LIVE_CHANNEL, subject)
    await pipe.execute()
