"""What is added up of usage: at every moment what a plain reckoning of every counter says, whoever wrote them."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import pytest

from api.usage import reports
from db import connect, migrate, stored_catalog
from db.settings import Settings
from jobs.action import Action
from jobs.usage import rollups, rows, states
from jobs.usage.family import Usage
from tests.jobs import metering
from tests.jobs.making import NOW
from tests.jobs.metering import BEGIN, CATALOG, DAY, act
from tests.worker.rig import Rig
from tests.worker.rig import rig as rigged
from tests.worker.teaching import differences
from tests.worker.test_usage import traffic

FAMILY: Final = Usage()
METERS: Final = ("UP", "UP", "SOFT", "OFF", "OPEN", "DISK")


def drawn(rng: random.Random, subject: str, number: int) -> list[Action]:
    """What one subject does in some weeks, plans and limits included."""
    made, got = [], BEGIN
    for n in range(number):
        got += rng.choice([0, 1, 3600, 86_400, 9 * 86_400]) * timedelta(seconds=1)
        meter, some = rng.choice(METERS), rng.randrange(1, 4)
        choices: list[tuple[str, dict[str, Any]]] = [
            ("usage.consumed", {"action": meter, "quantity": some}),
            ("usage.recorded", {"action": meter, "quantity": some}),
            ("usage.adjusted", {"action": meter, "quantity": -some, "reason": "x"}),
            ("usage.reserved", {"action": meter, "quantity": some, "ttl": 3600}),
            ("plan.changed", {"plan": rng.choice(["FREE", "PRO", "ALL"])}),
            ("usage.limits_set", {"action": meter, "limit": rng.choice([None, 0, 2, 50])}),
            ("usage.account_set", {"zone": rng.choice(["UTC", "Asia/Tokyo"])}),
        ]
        made.append(act(f"{subject}{n}", *rng.choice(choices), got=got, user=subject))
    return made


async def apply(conn: asyncpg.Connection, actions: Sequence[Action]) -> None:
    """A batch, as the worker has it."""
    items = metering.items(actions)
    held = await FAMILY.load(conn, items)
    FAMILY.fold(held, items)
    await FAMILY.save(conn, held)


def reckoned(counters: Sequence[Any], now: datetime, percent: int) -> dict[tuple[str, str], tuple[int, ...]]:
    """Counter by counter, from the words of docs/usage.md."""
    found: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 5)
    for row in counters:
        is_running = row["closed_at"] is None and row["period_start"] <= now < (row["period_end"] or now + DAY)
        if not is_running:
            continue
        top, used = row["limit_value"], row["used"]
        near, reached = (bool(top) and used * 100 >= top * share for share in (percent, 100))
        for place, value in enumerate((1, used, row["reserved"], near, reached)):
            found[row["plan"], row["action"]][place] += value
    return {name: tuple(values) for name, values in found.items()}


async def is_right(conn: asyncpg.Connection) -> None:
    """At several times, for several shares."""
    counters = await conn.fetch("SELECT * FROM usage_counters")
    for now in (BEGIN, BEGIN + 12 * DAY, BEGIN + 45 * DAY, BEGIN + 400 * DAY):
        for percent in (1, 33, 80, 100):
            answer = await conn.fetch(reports.QUERIES["usage_by_plan"], now, percent)
            assert {(row[0], row[1]): tuple(row)[2:] for row in answer} == reckoned(counters, now, percent)
    assert await conn.fetch(rollups.QUERIES["wrong_usage_rollups"]) == []


async def beside(conn: asyncpg.Connection, rng: random.Random) -> None:
    """What others than a batch do: a pass, closing, erasing, expiry, or nothing."""
    match rng.randrange(6):
        case 0:
            await rollups.fold(conn)
        case 1:
            closed = rng.choice([BEGIN, BEGIN + 30 * DAY])
            await conn.fetch(rows.QUERIES["close_periods"], closed, 24, 3)
        case 2:
            gone = f"user:u{rng.randrange(8)}"
            for table in ("counters", "reservations", "accounts"):
                await conn.execute(f"DELETE FROM usage_{table} WHERE subject = $1", gone)
        case 3:
            due = await conn.fetch(rows.QUERIES["due_reservations"], BEGIN + 10 * DAY, 5)
            if due:
                await states.expire(conn, [tuple(row) for row in due], BEGIN + 10 * DAY)


@pytest.mark.parametrize("seed", range(6))
async def test_sums_are_those_of_the_counters_whoever_writes_and_whenever_a_pass_comes(
    conn: asyncpg.Connection, seed: int
) -> None:
    await stored_catalog.store(conn, CATALOG)
    rng = random.Random(seed)
    everybody = [drawn(rng, f"u{n}", 25) for n in range(8)]
    while any(everybody):
        batch = []
        for own in everybody:
            size = rng.randrange(6)
            batch += own[:size]
            del own[:size]
        if batch:
            await apply(conn, batch)
        await beside(conn, rng)
        await is_right(conn)
    while await rollups.fold(conn):
        pass
    await is_right(conn)
    assert await conn.fetchval("SELECT count(*) FROM usage_changes") == 0


async def test_counters_of_an_older_version_are_summed_by_the_migration(empty_database_url: str) -> None:
    conn = await connect.postgres(empty_database_url)
    await migrate.up(conn)
    await stored_catalog.store(conn, CATALOG)
    await migrate.down(conn, "0020")
    await apply(conn, [action for n in range(6) for action in drawn(random.Random(n), f"u{n}", 12)])
    await migrate.up(conn)
    assert await conn.fetchval("SELECT count(*) FROM usage_rollups") > 5
    await is_right(conn)
    await apply(conn, drawn(random.Random(7), "u7", 12))
    await is_right(conn)
    await conn.close()


async def test_what_is_over_leaves_no_row(conn: asyncpg.Connection) -> None:
    await stored_catalog.store(conn, CATALOG)
    await apply(conn, [act(f"a{n}", "usage.recorded", {"action": "UP"}, got=BEGIN, user=f"u{n}") for n in range(9)])
    assert await rollups.fold(conn) == 1
    assert await conn.fetchval("SELECT count(*) FROM usage_rollups") == 1
    await conn.fetch(rows.QUERIES["close_periods"], BEGIN + 60 * DAY, 24, 100)
    assert await rollups.fold(conn) == 1
    assert await conn.fetchval("SELECT count(*) FROM usage_rollups") == 0
    assert await rollups.fold(conn) == 0


@pytest.fixture
async def rig(settings: Settings) -> AsyncIterator[Rig]:
    """With the small catalog."""
    async with rigged(settings) as made:
        async with made.pool.acquire() as conn:
            await stored_catalog.store(conn, CATALOG)
        yield made


async def test_passes_and_writers_at_once_lose_nothing(rig: Rig) -> None:
    done = asyncio.Event()

    async def write(number: int) -> None:
        rng = random.Random(number)
        left = drawn(rng, f"u{number}", 60)
        while left:
            size = rng.randrange(1, 5)
            async with rig.pool.acquire() as conn, conn.transaction():
                await apply(conn, left[:size])
            del left[:size]

    async def fold() -> int:
        number = 0
        while not done.is_set():
            async with rig.pool.acquire() as conn, conn.transaction():
                number += await rollups.fold(conn)
            async with rig.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
                await is_right(conn)
        return number

    folding = [asyncio.create_task(fold()) for _ in range(2)]
    await asyncio.gather(*(write(number) for number in range(5)))
    done.set()
    assert all(await asyncio.gather(*folding))
    async with rig.pool.acquire() as conn:
        await is_right(conn)


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize(
    "breakage",
    [
        "UPDATE usage_rollups SET used = used + 1 WHERE action = 'UP'",
        "UPDATE usage_rollups SET subjects = subjects - 1",
        "DELETE FROM usage_rollups WHERE action = 'DISK'",
        "INSERT INTO usage_changes VALUES ('PRO', 'UP', now(), 'infinity', 7, 1, 1, 1)",
    ],
)
async def test_a_wrong_sum_is_found_and_mended(rig: Rig, breakage: str, folded: bool) -> None:
    await rig.put(traffic(60), size=7)
    await rig.finish()
    async with rig.pool.acquire() as conn:
        await rollups.fold(conn)
        await rig.put([act(f"b{n}", "usage.recorded", {"action": "UP"}, got=NOW, user="bob") for n in range(3)])
        await rig.finish()
        if folded:
            await rollups.fold(conn)
        assert await differences(rig) == {}
        await conn.execute(breakage)
        found = await differences(rig)
        assert set(found) == {("usage_rollups", "all")}
        assert await differences(rig, check=False) == found
        assert await differences(rig) == {}
        assert await conn.fetch(rollups.QUERIES["wrong_usage_rollups"]) == []
