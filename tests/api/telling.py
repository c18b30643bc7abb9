"""What listeners of GET /v1/live are told: by what users do, and as a worker publishes it."""

from __future__ import annotations

from typing import Any

from db import live, stream
from tests.api.listening import Stream
from tests.api.service import Service


async def done(service: Service, user: str, action: str = "created_clip", **fields: Any) -> None:
    """The user takes a step, and it is applied."""
    body = {"action": action, "projectId": "p", "userId": user, **fields}
    answer = await service.send(body, "/v1/onboarding/progress/update?wait=10")
    assert (answer.status, answer.body["success"]) == (200, True), answer.body


def partition(service: Service, user: str) -> int:
    return stream.partition_of(f"user:{user}", service.settings.partitions)


async def tell(service: Service, user: str, *numbers: int, size: int = 0) -> None:
    """Snapshots as a worker publishes them."""
    bodies = [b'{"n":%d,"fill":"%b"}' % (number, b"x" * size) for number in numbers]
    snapshots = [(f"user:{user}", "progress", body) for body in bodies]
    await live.publish(service.redis, partition(service, user), snapshots)


async def heard(one: Stream, number: int) -> list[int]:
    """So many told numbers."""
    return [(await one.next("progress")).data["n"] for _ in range(number)]
