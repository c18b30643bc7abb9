"""Sessions that cannot be reckoned: put aside and retried, while the others go on; mended, they count once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from jobs.analytics import aside, counting, rolling
from jobs.analytics.rolling import Pass
from tests.jobs.making import make
from tests.jobs.test_analytics import record, rolled, rows
from tests.jobs.test_tracking import savepoint

SAVED = {"configuration": {"a": 1}, "trigger": "order_attempt", "totalPrice": 12.0}
FAULTS = {
    "UPDATE user_sessions SET total_price = 'NaN' WHERE session_id = 's3'": (
        "UPDATE user_sessions SET total_price = 12 WHERE session_id = 's3'"
    ),
    "UPDATE user_sessions SET at = 'infinity' WHERE session_id = 's3'": (
        "UPDATE user_sessions s SET at = f.at FROM configuration_snapshots f WHERE s.session_id = 's3' AND f.id = 'a3'"
    ),
    "UPDATE session_rollups SET counted = counted || '\\xc1' WHERE session_id = 's3'": (
        "UPDATE session_rollups SET counted = substr(counted, 1, length(counted) - 1) WHERE session_id = 's3'"
    ),
}
"""What breaks one session, and what mends it."""


async def passes(conn: asyncpg.Connection) -> Pass:
    """Until nothing is left; the last one that did something."""
    done = await rolling.roll(conn, datetime.now(UTC))
    while not done.is_done:
        done = await rolling.roll(conn, datetime.now(UTC))
    return done


async def everything(conn: asyncpg.Connection) -> dict[str, Any]:
    """All rows, and what is aside and waits."""
    waiting = await conn.fetchval("SELECT count(*) FROM tracking_changes")
    return {**await rows(conn), "aside": await conn.fetch("SELECT * FROM sessions_aside"), "waiting": waiting}


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_others_go_on_and_what_is_mended_counts_once(conn: asyncpg.Connection, fault: str) -> None:
    first = [make(f"a{n}", "configuration.saved", SAVED, session_id=f"s{n}", user_id="ada") for n in range(9)]
    later = [make(f"b{n}", session_id=f"s{n}", user_id="bob") for n in range(9)]

    async def given() -> None:
        await record(conn, first)
        await rolled(conn)

    async with savepoint(conn):
        await given()
        await record(conn, later)
        await rolled(conn)
        wanted = await everything(conn)
    async with savepoint(conn):
        await given()
        await record(conn, [one for one in later if one.session_id != "s3"])
        await rolled(conn)
        without = await rows(conn)
    await given()
    await record(conn, later)
    await conn.execute(fault)
    done = await passes(conn)
    assert ([one.session_id for one in done.faults], done.sessions) == (["s3"], 8)
    found = await rows(conn)
    # What it was counted for stands, as if the change had not come.
    assert {**found, "session_rollups": 0} == {**without, "session_rollups": 0}
    assert await conn.fetchval("SELECT tries FROM sessions_aside WHERE session_id = 's3'") == 1
    await conn.execute(FAULTS[fault])
    await retry_now(conn)
    assert (await passes(conn)).faults == []
    assert await everything(conn) == wanted


async def retry_now(conn: asyncpg.Connection) -> None:
    """As if the time had come."""
    await conn.execute("UPDATE tracking_changes SET changed_at = 'epoch' WHERE is_deferred")


async def test_what_is_aside_waits_longer_each_time_and_its_changes_with_it(conn: asyncpg.Connection) -> None:
    await record(conn, [make("a", session_id="s")])
    await conn.execute("UPDATE user_sessions SET total_price = 'Infinity'")
    waits = []
    for n in range(1, 9):
        began = datetime.now(UTC)
        done = await passes(conn)
        assert len(done.faults) == 1
        tries, due = await conn.fetchrow("SELECT tries, due_at FROM sessions_aside")
        assert (tries, await conn.fetchval("SELECT changed_at FROM tracking_changes")) == (n, due)
        waits.append(round((due - began) / timedelta(minutes=1)))
        await record(conn, [make(f"b{n}", session_id="s")])
        assert (await passes(conn)).faults == []
        assert await conn.fetchval("SELECT count(*) FROM tracking_changes") == 1
        await retry_now(conn)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


async def test_a_session_that_is_gone_is_forgotten(conn: asyncpg.Connection) -> None:
    await record(conn, [make("a", session_id="s"), make("b", session_id="t")])
    await rolled(conn)
    await conn.execute("UPDATE session_rollups SET counted = '\\xc1' WHERE session_id = 's'")
    await record(conn, [make("c", session_id="s")])
    assert len((await passes(conn)).faults) == 1
    await conn.execute("DELETE FROM user_sessions WHERE session_id = 's'")
    await conn.execute(counting.QUERIES["look_again"], ["s"])
    await passes(conn)
    for table in ("sessions_aside", "tracking_changes", "session_rollups WHERE session_id = 's'"):
        assert await conn.fetchval(f"SELECT count(*) FROM {table}") == 0, table


async def test_a_fault_of_the_server_is_no_session_s(conn: asyncpg.Connection) -> None:
    async def work(_: Any) -> None:
        raise asyncpg.DeadlockDetectedError("not of its making")

    with pytest.raises(asyncpg.DeadlockDetectedError):
        await aside.isolated(conn, ["a", "b"], work)
