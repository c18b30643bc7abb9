"""How many deliveries of one destination are under way: no place is ever lost or given twice."""

from __future__ import annotations

import asyncio
import random
from uuid import uuid4

import pytest

from jobs.effects import gates
from jobs.effects.gates import Gate, Gates


async def test_it_opens_while_they_arrive_and_closes_while_they_fail() -> None:
    gate = Gate()
    for _ in range(100):
        assert await gate.enter()
        gate.leave(well=True, seconds=0.01)
    assert gate.limit == gates.MOST
    for expected in (16, 8, 4, 2, 1, 1):
        assert await gate.enter(probing=True)
        gate.leave(well=False, seconds=0.01)
        assert gate.limit == expected
    assert gate.running == 0


async def test_who_finds_no_place_waits_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "WAIT_SECONDS", 0.05)
    gate = Gate()
    for _ in range(gates.FIRST):
        assert await gate.enter()
    assert not await gate.enter()
    monkeypatch.setattr(gates, "WAIT_SECONDS", 60.0)
    waiting = asyncio.create_task(gate.enter())
    await asyncio.sleep(0)
    gate.leave(well=True, seconds=1)
    assert await waiting


async def test_as_many_wait_as_it_has_just_shown_to_take_in_that_time(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    for _ in range(100):
        assert await gate.enter()
        gate.leave(well=True, seconds=0.1)
    waiting = [asyncio.create_task(gate.enter()) for _ in range(gates.MOST + 1000)]
    await asyncio.sleep(0)
    turned_away = [one for one in waiting if one.done() and not one.result()]
    assert len(turned_away) == 1000 - 768, "32 at a time, 0.1 s each, for 2.4 s"
    monkeypatch.setattr(gates, "WAIT_SECONDS", 0.0)
    assert not await gate.enter(), "it has not answered of late, and 32 wait"
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_who_waits_is_turned_away_when_a_rest_begins() -> None:
    gate = Gate()
    gate.failed = gates.REST_AFTER - 1
    for _ in range(gates.FIRST):
        assert await gate.enter()
    waiting = [asyncio.create_task(gate.enter()) for _ in range(3)]
    await asyncio.sleep(0)
    gate.leave(well=False, seconds=1)
    assert await asyncio.gather(*waiting) == [False] * 3
    assert not await gate.enter(), "claimed before the rest began"
    for _ in range(gates.FIRST - 1):
        gate.leave(well=None, seconds=0)
    assert await gate.enter(probing=True)
    gate.leave(well=True, seconds=0)
    assert await gate.enter()


async def test_no_place_is_lost_whoever_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "WAIT_SECONDS", 0.003)
    gate, order = Gate(), random.Random(1)

    async def one() -> None:
        if await gate.enter():
            try:
                assert gate.running <= gates.MOST
                await asyncio.sleep(order.random() * 0.004)
            finally:
                gate.leave(well=order.random() < 0.8 or None, seconds=0.001)

    tasks = []
    for _ in range(600):
        tasks.append(asyncio.create_task(one()))
        if order.random() < 0.3:
            order.choice(tasks).cancel()
        await asyncio.sleep(order.random() * 0.001)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert gate.running == 0
    assert not gate._waiting


def test_those_that_find_no_place_come_back_one_after_the_other() -> None:
    gate = Gate()
    found = [gate.later() for _ in range(10)]
    assert found == sorted(found)
    assert 0.4 < found[0] < 1
    assert max(gate.later() for _ in range(100_000)) <= gates.MOST_LATER + 1


def test_gates_of_destinations_that_nothing_goes_to_are_forgotten() -> None:
    held = Gates()
    for _ in range(3000):
        assert held[uuid4()].running == 0
    assert len(held._gates) <= 1002
