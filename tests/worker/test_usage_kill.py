"""kill -9 of a draining process at every command while limits are decided on: each decision is made once."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from db import stored_catalog
from jobs.action import Action
from tests.jobs.making import NOW
from tests.jobs.metering import CATALOG, act, applied
from tests.worker.rig import Rig
from tests.worker.teaching import differences
from tests.worker.test_kill import drained, lone, victim  # noqa: F401

MS = timedelta(milliseconds=1)


def round_of(number: int) -> list[Action]:
    """A user takes all of a limit by a reservation and single calls; one of the round before comes again."""
    user, got = f"u{number}", NOW + number * MS

    def of(name: str, kind: str, data: dict[str, object], whose: str = user) -> Action:
        return act(f"{name} {whose}", kind, data, got=got, user=whose)

    again = [of("x0", "usage.consumed", {"action": "UP"}, f"u{number - 1}")] if number > 1 else []
    return [
        of("hold", "usage.reserved", {"action": "UP", "quantity": 3}),
        *[of(f"x{n}", "usage.consumed", {"action": "UP"}) for n in range(3)],
        *again,
        of("commit", "usage.committed", {"reservationId": f"hold {user}", "quantity": 2}),
        of("x3", "usage.consumed", {"action": "UP"}),
        of("x4", "usage.consumed", {"action": "UP"}),
        of("commit", "usage.committed", {"reservationId": f"hold {user}", "quantity": 2}),
    ]


@pytest.mark.parametrize("when", ["before", "sent"])
async def test_a_kill_at_any_command_books_and_decides_once(
    lone: Rig,  # noqa: F811
    victim: asyncio.subprocess.Process,  # noqa: F811
    when: str,
) -> None:
    async with lone.pool.acquire() as conn:
        await stored_catalog.store(conn, CATALOG)
    sent: list[Action] = []
    ends: list[str] = []
    for number in range(1, 100):
        sent += round_of(number)
        await lone.put(round_of(number), size=2)
        ends.append(await drained(victim, number, when))
        # All of a batch is there or none of it.
        totals = "SELECT coalesce(sum(booked), 0) = (SELECT coalesce(sum(used), 0) FROM usage_counters)"
        assert await lone.fetch(f"{totals} FROM usage_records") == [True]
        await lone.finish()
        assert await lone.fetch("SELECT used FROM usage_counters WHERE used + reserved != 5") == []
        if ends[-1] == "done":
            break
    assert ends == ["killed"] * (len(ends) - 1) + ["done"]
    assert len(ends) > 10
    expected = applied([sent])
    rows = await lone.pool.fetch("SELECT id, outcome FROM usage_records")
    assert {row["id"]: json.loads(row["outcome"]) for row in rows} == expected.outcomes
    assert len(rows) == len(expected.facts)
    effects = await lone.fetch("SELECT subject || id FROM effects WHERE type = 'usage.threshold_reached'")
    assert sorted(effects) == sorted(one.subject + one.id for one in expected.effects)
    assert await differences(lone) == {}
