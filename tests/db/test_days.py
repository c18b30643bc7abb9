"""The day partitions of the fact tables: made ahead, dropped whole, one transaction each."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, time, timedelta

import asyncpg
import pytest

from db import connect, days
from jobs.families import FAMILIES
from tests import clock

TODAY = datetime.now(UTC).date()
TABLES = sorted(facts.table for family in FAMILIES for facts in family.facts)
DAY = timedelta(days=1)


async def days_of(conn: asyncpg.Connection, table: str = "interaction_events") -> list[date]:
    """The days that a table has partitions for."""
    rows = await conn.fetch(
        "SELECT right(inhrelid::regclass::text, 8) FROM pg_inherits WHERE inhparent = $1::text::regclass ORDER BY 1",
        table,
    )
    return [datetime.strptime(row[0], "%Y%m%d").replace(tzinfo=UTC).date() for row in rows]


async def test_making_days_twice_makes_them_once_for_every_fact_table(conn: asyncpg.Connection) -> None:
    await conn.fetch("SELECT drop_days('2999-01-01')")
    assert await conn.fetchval("SELECT ensure_days($1, $2)", TODAY, TODAY + 2 * DAY) == 3 * len(TABLES)
    assert await conn.fetchval("SELECT ensure_days($1, $2)", TODAY, TODAY + 2 * DAY) == 0
    for table in TABLES:
        assert await days_of(conn, table) == [TODAY, TODAY + DAY, TODAY + 2 * DAY]


async def test_the_worker_makes_days_around_today_and_those_it_is_told(
    conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(days, "datetime", clock.standing(datetime.combine(TODAY, time(12), UTC)))
    await conn.fetch("SELECT drop_days('2999-01-01')")
    await days.make(conn, [TODAY - 30 * DAY, TODAY + 3 * DAY])
    made = await days_of(conn)
    assert {TODAY - 30 * DAY, TODAY - DAY, TODAY, TODAY + DAY, TODAY + 2 * DAY, TODAY + 3 * DAY} == set(made)


async def test_a_day_is_a_day_of_utc_whatever_the_session_thinks(conn: asyncpg.Connection) -> None:
    await conn.execute("SET LOCAL timezone = 'Pacific/Kiritimati'")
    await conn.fetchval("SELECT ensure_days('2031-05-04', '2031-05-04')")
    await conn.execute("SET LOCAL timezone = 'UTC'")
    bounds = await conn.fetchval(
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'tracked_events_20310504'"
    )
    assert bounds == "FOR VALUES FROM ('2031-05-04 00:00:00+00') TO ('2031-05-05 00:00:00+00')"


async def test_dropping_takes_whole_older_days_only(conn: asyncpg.Connection) -> None:
    await conn.fetchval("SELECT ensure_days($1, $2)", TODAY - 5 * DAY, TODAY)
    dropped = [row[0] for row in await conn.fetch("SELECT drop_days($1)", TODAY - 2 * DAY)]
    assert len(dropped) == 3 * len(TABLES) + 0
    assert min(await days_of(conn)) == TODAY - 2 * DAY
    assert TODAY in await days_of(conn)


async def test_making_and_dropping_by_several_at_once_never_fails(database_url: str) -> None:
    conns = [await connect.postgres(database_url) for _ in range(3)]
    try:
        await asyncio.gather(
            *(one.fetchval("SELECT ensure_days($1, $2)", TODAY + 10 * DAY, TODAY + 14 * DAY) for one in conns)
        )
        assert TODAY + 14 * DAY in await days_of(conns[0])
    finally:
        for one in conns:
            await one.close()


@pytest.mark.parametrize("level", ["session", "transaction"])
async def test_making_days_leaves_no_setting_behind(database_url: str, level: str) -> None:
    conn = await connect.postgres(database_url)
    before = await conn.fetchval("SHOW lock_timeout")
    if level == "session":
        await days.make(conn)
    else:
        transaction = conn.transaction()
        await transaction.start()
        await days.make(conn)
        await transaction.rollback()
    assert await conn.fetchval("SHOW lock_timeout") == before
    await conn.close()
