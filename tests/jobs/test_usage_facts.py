"""`rebuild` of usage: nothing differs from what the workers kept; what somebody changed is found and mended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from db import days, stored_catalog
from jobs.usage import facts as usage_facts
from jobs.usage import view as usage_view
from tests.jobs.making import NOW
from tests.jobs.metering import CATALOG, DAY, act
from tests.worker.rig import Rig
from tests.worker.rig import rig as rigged
from tests.worker.teaching import differences
from tests.worker.test_usage import traffic

BREAKAGES = (
    ("accounts", "plan = 'ALL'", {"plan"}),
    ("accounts", "next_plan_at = now()", {"next_plan_at"}),
    ("accounts", "overrides = '{}'", {"overrides"}),
    ("accounts", "rules = '[{}]'", {"rules"}),
    ("accounts", "revision = 77", {"revision"}),
    ("accounts", "metered = false", {"metered"}),
    ("accounts", "first_at = first_at + interval '1 second'", {"first_at"}),
    ("counters", "used = used + 1", {"used"}),
    ("counters", "reserved = reserved + 2", {"reserved"}),
    ("counters", "records = 1000", {"records"}),
    ("counters", "limit_value = 4711", {"limit_value"}),
    ("counters", "hard = NOT hard", {"hard"}),
    ("counters", "notified = '[\"80/x\"]'", {"notified"}),
    ("counters", "revision = 9", {"revision"}),
    ("counters", "plan = 'NONE'", {"plan"}),
    ("counters", "period_end = period_end + interval '1 day'", {"period_end"}),
    ("counters", "closed_at = period_end - interval '1 hour'", {"closed_at"}),
    ("counters", "updated_at = now() + interval '1 day'", {"updated_at"}),
    ("reservations", "status = 'released'", {"status"}),
    ("reservations", "committed = 9", {"committed"}),
    ("reservations", "quantity = quantity + 1", {"quantity"}),
)


@pytest.fixture
async def metered(settings: Any) -> Any:
    """A rig with the small catalog, and traffic applied."""
    async with rigged(settings) as rig:
        async with rig.pool.acquire() as conn:
            await stored_catalog.store(conn, CATALOG)
        await rig.put(traffic(120), size=7)
        await rig.put(
            [
                act(f"open{n}", "usage.reserved", {"action": "OPEN", "ttl": 80_000}, got=NOW, user=f"u{n}")
                for n in range(4)
            ]
        )
        await rig.finish()
        yield rig


async def stored(rig: Rig) -> list[Any]:
    """All rows of the three tables."""
    return [
        [tuple(row) for row in await rig.pool.fetch(f"SELECT * FROM usage_{table} ORDER BY 1, 2, 3")]
        for table in ("accounts", "counters", "reservations")
    ]


async def test_what_the_workers_kept_is_what_the_facts_say(metered: Rig) -> None:
    before = await stored(metered)
    assert all(before)
    assert await differences(metered) == {}
    assert await differences(metered, check=False) == {}
    assert await stored(metered) == before


@pytest.mark.parametrize(("table", "breakage", "fields"), BREAKAGES, ids=[one[1].split(" =")[0] for one in BREAKAGES])
async def test_a_broken_row_is_found_and_mended(metered: Rig, table: str, breakage: str, fields: set[str]) -> None:
    before = await stored(metered)
    where = "status = 'open' AND expires_at > now()" if table == "reservations" else "subject = 'user:ada'"
    if table == "counters":
        where = f"(subject, action) = ('user:ada', 'UP') AND period_end > '{NOW}'"
    await metered.pool.execute(f"UPDATE usage_{table} SET {breakage} WHERE {where}")
    found = await differences(metered)
    assert found
    assert {one.rpartition(": ")[2] for said in found.values() for one in said} >= fields
    assert {name for name, _ in found} == {"usage_accounts" if table == "accounts" else "usage_counters"}
    assert await differences(metered, check=False) == found
    assert await differences(metered) == {}
    assert await stored(metered) == before


async def test_lost_rows_come_back_and_ghosts_go(metered: Rig) -> None:
    before = await stored(metered)
    await metered.pool.execute("DELETE FROM usage_accounts WHERE subject = 'user:ada'")
    await metered.pool.execute("DELETE FROM usage_counters WHERE subject IN ('user:bob', 'user:u1')")
    await metered.pool.execute("DELETE FROM usage_reservations WHERE subject = 'user:eve'")
    await metered.pool.execute(
        "INSERT INTO usage_accounts (subject, first_at, overrides, rules, metered, revision)"
        " VALUES ('user:ghost', now(), '{}', '[{}]', false, 0)"
    )
    await metered.pool.execute(
        "INSERT INTO usage_reservations (subject, id, action, quantity, period_start, created_at, expires_at, status)"
        " VALUES ('user:ghost', 'g', 'UP', 1, now(), now(), now(), 'open')"
    )
    found = await differences(metered)
    assert {(table, key.partition("\x1f")[0]) for table, key in found} == {
        ("usage_accounts", "user:ada"),
        ("usage_accounts", "user:ghost"),
        *[("usage_counters", f"user:{name}") for name in ("bob", "u1", "eve", "ghost")],
    }
    await differences(metered, check=False)
    assert await differences(metered) == {}
    assert await stored(metered) == before


async def test_what_expired_by_time_alone_is_no_difference(metered: Rig) -> None:
    """The sweep and a rebuild may come in any order."""
    await metered.put(
        [act("soon", "usage.reserved", {"action": "OPEN", "quantity": 4, "ttl": 1}, got=NOW - DAY / 24, user="zoe")]
    )
    await metered.finish()
    assert await metered.fetch("SELECT reserved FROM usage_counters WHERE subject = 'user:zoe'") == [4]
    assert await differences(metered) == {}
    await metered.pool.execute("UPDATE usage_reservations SET status = 'expired' WHERE subject = 'user:zoe'")
    assert await differences(metered) != {}
    await metered.pool.execute("UPDATE usage_counters SET reserved = 0 WHERE subject = 'user:zoe'")
    assert await differences(metered) == {}


async def test_what_retention_dropped_facts_of_is_left_alone(metered: Rig) -> None:
    """A day goes: accounts and gauges of old subjects stay as they are, periods that began later are still compared."""
    old = NOW - 20 * DAY
    async with metered.pool.acquire() as conn:
        await days.make(conn, [old.date()])
    await metered.put(
        [
            act("o1", "usage.recorded", {"action": "OPEN", "quantity": 6}, got=old, user="old"),
            act("o2", "usage.recorded", {"action": "DISK", "quantity": 3}, got=old, user="old"),
            act("o3", "plan.changed", {"plan": "PRO"}, got=old, user="old"),
        ]
    )
    await metered.finish()
    await metered.put([act("n1", "usage.recorded", {"action": "DISK", "quantity": 1}, got=NOW, user="old")])
    await metered.finish()
    assert await differences(metered) == {}
    await metered.pool.execute("SELECT drop_days($1)", (NOW - 10 * DAY).date())
    assert await metered.fetch("SELECT count(*)::int FROM usage_records WHERE subject = 'user:old'") == [1]
    assert await differences(metered) == {}
    before = await stored(metered)
    await metered.pool.execute("UPDATE usage_counters SET used = used + 1 WHERE subject = 'user:old'")
    assert await differences(metered, check=False) == {}
    await metered.pool.execute("UPDATE usage_counters SET used = used - 1 WHERE subject = 'user:old'")
    assert await stored(metered) == before


async def test_one_subject_alone(metered: Rig) -> None:
    """The tables of one subject page over nothing else."""
    async with metered.pool.acquire() as conn, conn.transaction():
        for table in usage_facts.tables("user:bob"):
            rows = await table.page(conn, "", 100)
            assert rows
            assert {subject for _, subject in rows} == {"user:bob"}
            assert await table.page(conn, rows[-1][0], 100) == []


async def test_a_rebuilt_subject_is_shown_as_it_is(metered: Rig) -> None:
    async with metered.pool.acquire() as conn:
        before = await usage_view.load(conn, "user:ada", NOW + timedelta(seconds=5))
        await conn.execute("UPDATE usage_counters SET used = 0")
    await differences(metered, check=False)
    async with metered.pool.acquire() as conn:
        assert await usage_view.load(conn, "user:ada", NOW + timedelta(seconds=5)) == before
    partition = metered.partition("user:ada")
    assert not await metered.client.exists(f"mp:{{{partition}}}:model:usage:user:ada")
