"""Snapshots for who listens: made for nobody else, and nobody misses one, whenever they begin to listen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection

import pytest
from redis.asyncio import Redis

from db import ending, keys, live
from db.live import Entry
from db.stream import Position
from jobs.family import Live
from jobs.usage import family as usage
from jobs.usage import view
from tests.jobs.metering import act
from tests.worker.rig import Rig

ADA = "user:ada"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The subjects of which a view was made."""
    subjects: list[str] = []

    def counted(subject: str, event: str, body: Callable[[], bytes]) -> Live:
        def noted() -> bytes:
            subjects.append(subject)
            return body()

        return Live(subject, event, noted)

    monkeypatch.setattr(usage, "Live", counted)
    return subjects


async def entries(rig: Rig, since: Position) -> list[Entry]:
    """What ada has been sent."""
    (found,) = await live.since(rig.client, [(rig.partition(ADA), ADA, since)])
    assert found is not None
    return found


async def test_nothing_is_made_of_whom_nobody_listens_to(rig: Rig, made: list[str]) -> None:
    (since,) = await live.keep(rig.client, [(rig.partition(ADA), ADA)])
    for number in range(3):
        await rig.put([act(f"{user}{number}", "usage.recorded", {"action": "API_CALL"}, user=user) for user in USERS])
    await rig.finish()
    assert set(made) == {ADA}
    told = await entries(rig, since)
    assert json.loads(told[-1].body)["meters"]["API_CALL"]["used"] == 3
    assert await rig.client.exists(keys.model(rig.partition("user:bob"), view.name("user:bob")))


USERS = ("ada", "bob", "eve")


async def test_who_begins_to_listen_behind_the_look_of_the_worker_reads_anew(
    rig: Rig, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = rig.partition(ADA)
    positions: list[Position] = []
    original = live.listened

    async def begins(client: Redis, partition: int, subjects: Collection[str]) -> set[str]:
        found = await original(client, partition, subjects)
        if ADA in subjects and not positions:
            positions.extend(await live.keep(client, [(place, ADA)]))
        return found

    monkeypatch.setattr(live, "listened", begins)
    await rig.put([act("a", "usage.recorded", {"action": "API_CALL"}, user="ada")])
    await rig.finish()
    assert made == []
    assert [entry.event for entry in await entries(rig, positions[0])] == [live.AGAIN]


async def test_whenever_somebody_begins_they_learn_of_the_last_change(rig: Rig) -> None:
    """Who keeps listening, reads the state, and then all that comes, ends at the last count: at whatever moment."""
    users, number = [f"u{one}" for one in range(40)], 6
    begun: dict[str, tuple[Position, int]] = {}

    async def listen() -> None:
        for user in users:
            (since,) = await live.keep(rig.client, [(rig.partition(f"user:{user}"), f"user:{user}")])
            begun[user] = since, await used(rig, user)

    async def go_on() -> None:
        for one in range(number):
            await rig.put([act(f"{user}-{one}", "usage.recorded", {"action": "API_CALL"}, user=user) for user in users])

    task = asyncio.create_task(rig.drain().run())
    await asyncio.gather(listen(), go_on())
    await ending.ended(task)
    await rig.finish()
    for user, (since, known) in begun.items():
        assert await used(rig, user) == number
        (found,) = await live.since(rig.client, [(rig.partition(f"user:{user}"), f"user:{user}", since)])
        assert found is not None
        if not found:
            assert known == number, user
        elif found[-1].event != live.AGAIN:
            assert json.loads(found[-1].body)["meters"]["API_CALL"]["used"] == number, user


async def used(rig: Rig, user: str) -> int:
    """As Postgres has it."""
    query = "SELECT coalesce(sum(used), 0)::int FROM usage_counters WHERE subject = $1"
    found: int = (await rig.fetch(query, f"user:{user}"))[0]
    return found
