"""Rollups made anew: nothing differs after passes, whatever is broken is found and mended, what was dropped stays."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from db import connect, days
from jobs import rebuild
from jobs.analytics import rebuilding
from jobs.family import Difference
from tests.api.service import Service
from tests.api.test_analytics import rolled
from tests.jobs.test_analytics import rows
from tests.jobs.test_rebuild import fill

A_BOT = "UPDATE user_sessions SET is_bot = true WHERE session_id = (SELECT max(session_id) FROM user_sessions)"
NAMES = ("session_rollups", "visitor_hours", "rollups", "daily_analytics")


async def run(pipe: Service, *, check: bool) -> tuple[dict[str, rebuild.Result], dict[str, list[Difference]]]:
    """One run over the tables of analytics: results, and what differs, by table."""
    found: dict[str, list[Difference]] = {}

    def take(table: str, key: str, differences: Sequence[Difference]) -> None:
        found.setdefault(table, []).extend(differences)

    conn, other = [await connect.postgres(pipe.settings.database_url) for _ in range(2)]
    try:
        work = rebuild.Rebuild(conn, other, pipe.redis, check, take, tables=rebuilding.tables())
        return {one.table: one for one in await work.run()}, found
    finally:
        await conn.close()
        await other.close()


async def everything(pipe: Service) -> dict[str, list[tuple[Any, ...]]]:
    """All rows."""
    async with pipe.sql.acquire() as conn:
        return await rows(conn)


async def filled(pipe: Service) -> None:
    """Journeys, metrics of today and of yesterday, and the API's own times."""
    await fill(pipe)
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    for at in ({}, {"at": yesterday}):
        values = [
            {"kind": "metric.recorded", **at, "data": {"metricName": "lcp", "value": value}} for value in (0.25, -3, 7)
        ]
        await pipe.settle(await pipe.send({"actions": values}))
    await pipe.sql.execute(A_BOT)
    await pipe.state.pace.flush(pipe.sql)
    async with pipe.sql.acquire() as conn:
        # Metrics of the oldest day that is kept, and of the one behind it, may be torn: all days are behind them.
        await days.make(conn, [datetime.now(UTC).date() - timedelta(days=40)])
    await rolled(pipe)


BREAKAGES = {
    "UPDATE session_rollups SET visitor = 'user:nobody'": "session_rollups",
    "UPDATE session_rollups SET hour = hour - interval '1 hour'": "session_rollups",
    r"UPDATE session_rollups SET counted = '\x90'": "session_rollups",
    r"UPDATE session_rollups SET counted = '\xc1'": "session_rollups",
    "DELETE FROM session_rollups": "session_rollups",
    "INSERT INTO session_rollups SELECT 'ghost', visitor, hour, counted FROM session_rollups LIMIT 1": (
        "session_rollups"
    ),
    "DELETE FROM visitor_hours": "visitor_hours",
    "UPDATE visitor_hours SET sessions = sessions + 1": "visitor_hours",
    "INSERT INTO visitor_hours VALUES ('user:ghost', date_trunc('hour', now()), 1)": "visitor_hours",
    "DELETE FROM rollups WHERE measure !~ '^(metric|path|called):api'": "rollups",
    "UPDATE rollups SET n = n + 1 WHERE measure = 'bot.sessions'": "rollups",
    "DELETE FROM rollups WHERE measure = 'left' AND grain = 'week'": "rollups",
    "UPDATE rollups SET n = n + 1 WHERE measure = 'visitors' AND grain = 'hour'": "rollups",
    "UPDATE rollups SET most = -1000 WHERE measure = 'metric:lcp' AND start > now() - interval '1 day'": "rollups",
    "UPDATE rollups SET n = n + 1 WHERE measure = 'retention'": "rollups",
    "UPDATE rollups SET total = total + 1 WHERE measure = 'sessions' AND grain = 'day'": "rollups",
    "INSERT INTO rollups VALUES ('all', 'choice:x', 'epoch', 'y', 1, 0, NULL)": "rollups",
    "DELETE FROM daily_analytics": "daily_analytics",
    "UPDATE daily_analytics SET drop_off = '{}', prices = '{\"1\": 1}'": "daily_analytics",
    "INSERT INTO daily_analytics VALUES ('2001-01-01', 1, 0, 0, 0, 0, 0, '{}', '{}', 0, now())": "daily_analytics",
}


async def test_whatever_is_broken_is_found_and_mended(pipe: Service) -> None:
    await filled(pipe)
    results, found = await run(pipe, check=True)
    assert found == {}
    assert results["session_rollups"].seen == await pipe.sql.fetchval("SELECT count(*) FROM user_sessions")
    before = await everything(pipe)
    await run(pipe, check=False)
    assert await everything(pipe) == before
    for breakage, table in BREAKAGES.items():
        await pipe.sql.execute(breakage)
        found = (await run(pipe, check=True))[1]
        assert table in found, breakage
        await run(pipe, check=False)
        assert (await run(pipe, check=True))[1] == {}, breakage
        if "2001" in breakage:
            assert (
                await pipe.sql.fetchval("DELETE FROM daily_analytics WHERE day < '2002-01-01' RETURNING sessions") == 0
            )
        after = await everything(pipe)
        assert {name: after[name] for name in NAMES} == {name: before[name] for name in NAMES}, breakage


async def test_what_no_pass_can_reckon_is_mended(pipe: Service) -> None:
    await filled(pipe)
    await pipe.settle(await pipe.send({"kind": "page.viewed", "sessionId": "broken"}))
    await rolled(pipe)
    await pipe.sql.execute(r"UPDATE session_rollups SET counted = '\xc1' WHERE session_id = 'broken'")
    await pipe.settle(await pipe.send({"kind": "page.viewed", "sessionId": "broken"}))
    await rolled(pipe)
    assert await pipe.sql.fetchval("SELECT session_id FROM sessions_aside") == "broken"
    assert (await run(pipe, check=True))[1].keys() == {"session_rollups", "rollups"}
    await run(pipe, check=False)
    assert (await run(pipe, check=True))[1] == {}
    assert await pipe.sql.fetchval("SELECT count(*) FROM sessions_aside") == 0
    assert await pipe.sql.fetchval("SELECT count(*) FROM tracking_changes WHERE is_deferred") == 0
    await pipe.settle(await pipe.send({"kind": "page.viewed", "sessionId": "broken"}))
    await rolled(pipe)
    assert (await run(pipe, check=True))[1] == {}


async def test_what_cannot_be_reckoned_is_told_and_left(pipe: Service) -> None:
    await filled(pipe)
    await pipe.sql.execute("UPDATE user_sessions SET total_price = 'NaN' WHERE total_price IS NOT NULL")
    broken = await pipe.sql.fetchval("SELECT count(*) FROM user_sessions WHERE total_price IS NOT NULL")
    assert broken
    for check in (True, False):
        results, found = await run(pipe, check=check)
        told = [one for one in found["session_rollups"] if one[0] == "(counted)"]
        assert (len(told), results["session_rollups"].differing) == (broken, broken)
        assert told[0][2] == "cannot be reckoned: ValueError"
        assert found.keys() == {"session_rollups"}


async def test_what_waits_for_a_pass_is_left_to_it(pipe: Service) -> None:
    await filled(pipe)
    await pipe.settle(await pipe.send({"kind": "page.viewed", "sessionId": "new"}))
    for value in (3, 7.001):  # the second is the largest of a number that others are in, and cannot be taken out of it
        await pipe.settle(await pipe.send({"kind": "metric.recorded", "data": {"metricName": "lcp", "value": value}}))
    assert (await run(pipe, check=True))[1] == {}
    await run(pipe, check=False)
    await rolled(pipe)
    assert (await run(pipe, check=True))[1] == {}
    assert await pipe.sql.fetchval("SELECT count(*) FROM session_rollups WHERE session_id = 'new'") == 1


async def test_what_retention_dropped_stays_counted(pipe: Service) -> None:
    await filled(pipe)
    before = await everything(pipe)
    for table in ("interaction_events", "configuration_snapshots", "tracked_events"):
        await pipe.sql.execute(f"DELETE FROM {table}")
    assert "session_rollups" in (await run(pipe, check=True))[1]
    await pipe.sql.execute("UPDATE user_sessions SET received_at = received_at - interval '50 days'")
    results, found = await run(pipe, check=True)
    assert (found, results["session_rollups"].left) == ({}, results["session_rollups"].seen)
    await run(pipe, check=False)
    assert await everything(pipe) == before


@pytest.mark.parametrize("number", [0, 3])
async def test_of_nothing_comes_nothing(pipe: Service, number: int) -> None:
    if number:
        await fill(pipe, number)
    assert (await run(pipe, check=True))[1] == {}
