"""Usage through the whole pipe: the same as without a Postgres, whoever drains, whoever dies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from db import days, ending, keys, stored_catalog
from jobs.action import Action
from jobs.usage import plans
from jobs.usage import rows as usage_rows
from jobs.usage import view as usage_view
from jobs.usage.rows import QUERIES, Reservation
from tests.jobs.making import NOW
from tests.jobs.metering import CATALOG, Memory, act, applied, catalog
from tests.worker.rig import Rig

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@pytest.fixture
async def metered(rig: Rig) -> Rig:
    """With the small catalog."""
    async with rig.pool.acquire() as conn:
        await stored_catalog.store(conn, CATALOG)
    return rig


def traffic(number: int, users: Sequence[str] = ("ada", "bob", "eve")) -> list[Action]:
    """Some of everything, for several subjects, in one order."""
    made = []
    for n in range(number):
        user, got = users[n % len(users)], NOW - (number - n) * SECOND
        kinds: list[tuple[str, dict[str, Any]]] = [
            ("usage.consumed", {"action": "UP"}),
            ("usage.recorded", {"action": "OPEN", "quantity": n + 1, "metadata": {"n": n}}),
            ("usage.reserved", {"action": "SOFT", "quantity": 2, "ttl": 2}),
            ("usage.committed", {"reservationId": f"a{n - len(users)}", "quantity": 1}),
            ("usage.recorded", {"action": "DISK", "quantity": 3}),
            ("usage.recorded", {"action": "DISK", "quantity": -2}),
            ("usage.adjusted", {"action": "UP", "quantity": -1, "reason": "refund"}),
            ("plan.changed", {"plan": ["FREE", "PRO"][n % 2]}),
            ("usage.limits_set", {"action": "OFF", "limit": n % 4}),
            ("usage.account_set", {"zone": "Asia/Tokyo", "billing": "anniversary"}),
            ("usage.released", {"reservationId": "a2"}),
            ("plan.changed", {"plan": "NOBODYS"}),
        ]
        kind, data = kinds[n // len(users) % len(kinds)]
        made.append(act(f"a{n}", kind, data, got=got, at=got - 40 * DAY * (n % 5 == 4), user=user))
    return made


async def check(rig: Rig, actions: Sequence[Action]) -> Memory:
    """Postgres and Redis hold what the fold makes of these actions without them."""
    expected = applied([actions])
    async with rig.pool.acquire() as conn:
        rows = await conn.fetch(QUERIES["load_usage_accounts"], subjects(actions))
        accounts = [usage_rows.account(row) for row in rows]
        counters = [usage_rows.counter(row) for row in await conn.fetch("SELECT * FROM usage_counters")]
        held = [Reservation(*row) for row in await conn.fetch("SELECT * FROM usage_reservations")]
        facts = await conn.fetch("SELECT subject, id, booked, outcome FROM usage_records")
        wrong = await conn.fetch(QUERIES["compare_usage"])
    assert {one.subject: one for one in accounts} == expected.accounts
    assert {one.key: one for one in counters} == expected.counters
    assert {(one.subject, one.id): one for one in held} == expected.reservations
    assert sorted((row["subject"], row["id"], row["booked"]) for row in facts) == sorted(
        (one["subject"], one["id"], one["booked"]) for one in expected.facts
    )
    assert wrong == []
    effects = await rig.fetch("SELECT subject || id FROM effects WHERE type = 'usage.threshold_reached'")
    assert sorted(effects) == sorted(one.subject + one.id for one in expected.effects)
    for subject in subjects(actions):
        name = usage_view.name(subject)
        model = await rig.client.get(keys.model(rig.partition(subject), name))
        assert model is None or json.loads(model) == json.loads(expected.models[name])
        async with rig.pool.acquire() as conn:
            loaded = await usage_view.load(conn, subject, NOW)
        seen, fresh = (usage_view.decode(body) for body in (expected.models[name], loaded))
        held_plans = plans.Plans([], catalog)
        assert usage_view.view(seen, held_plans, catalog, NOW) == usage_view.view(fresh, held_plans, catalog, NOW)
    return expected


def subjects(actions: Sequence[Action]) -> list[str]:
    return sorted({action.subject for action in actions})


@pytest.mark.parametrize("size", [1, 7, 200])
async def test_the_pipe_does_what_the_fold_says(metered: Rig, size: int) -> None:
    actions = traffic(120)
    await metered.put(actions, size=size)
    await metered.finish()
    await check(metered, actions)
    assert [code for _, code in await metered.dead()] == ["unknown_plan"] * 9
    await metered.put(actions[::-1], size=5)
    await metered.finish()
    await check(metered, actions)


async def test_four_drains_at_once_give_a_limit_away_exactly_once(metered: Rig) -> None:
    actions = [act(f"a{n}", "usage.consumed", {"action": "UP"}, got=NOW, user=f"u{n % 5}") for n in range(200)]
    drains = [metered.drain() for _ in range(4)]
    tasks = [asyncio.create_task(one.run()) for one in drains[1:]]
    try:
        await metered.put(actions + actions[:50], size=3)
        await metered.finish(drains[0])
    finally:
        await asyncio.gather(*map(ending.ended, tasks))
    assert await metered.fetch("SELECT used FROM usage_counters ORDER BY subject") == [5] * 5
    assert await metered.fetch("SELECT count(*) FROM usage_records WHERE booked = 1") == [25]
    await check(metered, actions)


async def test_a_reservation_is_committed_into_the_period_that_it_was_made_in(metered: Rig) -> None:
    """Its counter is of a period that the batch would not load otherwise."""
    end = NOW.replace(day=1, hour=0, minute=0, second=0)
    async with metered.pool.acquire() as conn:
        await days.make(conn, [(end - DAY).date(), end.date()])
    before = [act("r", "usage.reserved", {"action": "UP", "quantity": 3}, got=end - SECOND)]
    after = [
        act("x", "usage.consumed", {"action": "UP", "quantity": 5}, got=end),
        act("c", "usage.committed", {"reservationId": "r"}, got=end + SECOND),
    ]
    for actions in (before, after):
        await metered.put(actions)
        await metered.finish()
    await check(metered, [*before, *after])
    assert await metered.fetch("SELECT used FROM usage_counters ORDER BY period_start") == [3, 5]
