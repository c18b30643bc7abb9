"""kill -9 of a draining process at every command that it sends: nothing is lost, doubled, left over or old."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest

from db.settings import Settings
from jobs.action import Action
from tests.jobs.making import NOW, START, make
from tests.worker import rig as rigs
from tests.worker import victims
from tests.worker.rig import Rig

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def lone(settings: Settings) -> AsyncIterator[Rig]:
    """A rig with a single partition: what it sends comes in one order."""
    async with rigs.rig(settings.model_copy(update={"partitions": 1})) as made:
        yield made


@pytest.fixture
async def victim(lone: Rig) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process that forks the drains."""
    async with victims.victim("tests.worker.killed", lone.settings) as process:
        yield process


async def drained(victim: asyncio.subprocess.Process, number: int, when: str) -> str:
    """How a drain that dies at a command ended."""
    return await victims.ended(victim, number, when, rigs.PATIENCE)


def some(number: int) -> list[Action]:
    """Actions of a named session that grows, of a new one, of the one before again, and of a page."""
    at, got = START + number * MINUTE, NOW + timedelta(milliseconds=number)
    return [
        make(f"grow{number}", at=at, received_at=got, session_id="long"),
        make(f"new{number}", at=at, received_at=got, session_id=f"s{number}", user_id="u"),
        make(f"page{number}", "page.viewed", {"path": "/"}, at=at, received_at=got, session_id="long"),
        make(f"ours{number}", at=at, received_at=got, flags=4, session_id="long"),
        make(f"grow{number - 1}", at=at - MINUTE, received_at=got - timedelta(milliseconds=1), session_id="long"),
        make(f"twice{number}", at=at, received_at=got, session_id="long"),
        make(f"twice{number}", at=at, received_at=got, session_id="long"),
    ]


@pytest.mark.parametrize("when", ["before", "sent"])
async def test_a_kill_at_any_command_leaves_everything_exactly_once(
    lone: Rig, victim: asyncio.subprocess.Process, when: str
) -> None:
    sent: list[Action] = []
    ends = []
    for number in range(1, 100):
        sent += some(number)
        await lone.put(some(number), size=2)
        ends.append(await drained(victim, number, when))
        # All of a batch is there or none of it, whatever the moment was.
        counted = await lone.fetch("SELECT coalesce(sum(interactions + page_views), 0)::int FROM user_sessions")
        assert counted == [sum(map(len, (await lone.facts()).values()))]
        await lone.finish()
        await lone.check(sent)
        if ends[-1] == "done":
            break
    assert ends == ["killed"] * (len(ends) - 1) + ["done"]
    assert len(ends) > 10


async def test_a_kill_at_any_command_of_an_isolation_buries_each_poison_once(
    lone: Rig, victim: asyncio.subprocess.Process
) -> None:
    good: list[Action] = []
    ends = []
    for number in range(1, 200, 2):
        mine = some(number)
        poison = msgspec.structs.replace(mine[1], id=f"poison{number}", flags=1 << 20)
        good += mine
        await lone.put([*mine[:3], poison, *mine[3:]], size=20)
        ends.append(await drained(victim, number, "before"))
        await lone.finish()
        await lone.check(good)
        assert len(set(await lone.dead())) == len(await lone.dead()) == len(ends)
        if ends[-1] == "done":
            break
    assert ends == ["killed"] * (len(ends) - 1) + ["done"]
