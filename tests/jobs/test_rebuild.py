"""State is a function of the facts: a check finds whatever is not, a rebuild mends it, the workers go on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bench.traffic import Request, simulated
from db import connect
from jobs import rebuild
from jobs.family import Difference
from jobs.tracking.family import QUERIES as TRACKING
from tests.api.service import Service
from tests.jobs.commands import Operator, settled

BREAKAGES = (
    "interactions = interactions + 1",
    "snapshots = snapshots - 1",
    "metrics = 99, page_views = 99, events = 99",
    "at = at - interval '1 hour'",
    "last_at = last_at + interval '1 second'",
    "user_id = 'nobody'",
    "ended_at = at - interval '1 day'",
    "device_type = NULL, viewport_width = 1",
    "last_category = 'other'",
    "total_price = 1, priced_at = now()",
    "completed_at = now(), completion_percentage = 3",
    "received_at = now()",
)


async def post(pipe: Service, request: Request) -> None:
    """One request of the simulated traffic; 422 when its only action was a wrong one."""
    answer = await pipe.send(b"\n".join(request.lines), Content_Type="application/x-ndjson")
    assert answer.status in (202, 422), answer


async def fill(pipe: Service, sessions: int = 40) -> None:
    """Journeys of visitors, in odd order, some twice."""
    rng = random.Random(3)
    requests = [request for lane in simulated(sessions, seed=5).lanes for request in lane]
    rng.shuffle(requests)
    for request in requests:
        await post(pipe, request)
    await settled(pipe)


async def run(
    pipe: Service, *, check: bool, table: str = "user_sessions"
) -> tuple[rebuild.Result, dict[str, set[str]]]:
    """One run over all tables; what it says of one: the differing fields by key."""
    found: dict[str, set[str]] = {}

    def take(of: str, key: str, differences: Sequence[Difference]) -> None:
        if of == table:
            found[key] = {name for name, _, _ in differences}

    conn, other = [await connect.postgres(pipe.settings.database_url) for _ in range(2)]
    try:
        results = await rebuild.Rebuild(conn, other, pipe.redis, check, take).run()
    finally:
        await conn.close()
        await other.close()
    (result,) = [one for one in results if one.table == table]
    assert result.differing == len(found)
    return result, found


async def rows(pipe: Service) -> list[dict[str, Any]]:
    """All sessions."""
    return [dict(row) for row in await pipe.sql.fetch("SELECT * FROM user_sessions ORDER BY session_id")]


async def test_what_the_worker_kept_is_what_the_facts_say(pipe: Service) -> None:
    await fill(pipe)
    result, found = await run(pipe, check=True)
    assert (result.seen, found) == (await pipe.sql.fetchval("SELECT count(*) FROM user_sessions"), {})
    await pipe.sql.execute(TRACKING["end_idle_sessions"], datetime.now(UTC) - timedelta(minutes=30), 25)
    assert (await run(pipe, check=True))[1] == {}  # some swept, some not yet
    before = await rows(pipe)
    assert (await run(pipe, check=False))[1] == {}
    assert await rows(pipe) == before


async def test_a_broken_row_is_found_and_mended(pipe: Service) -> None:
    await fill(pipe)
    await pipe.sql.execute(TRACKING["end_idle_sessions"], datetime.now(UTC) - timedelta(minutes=30), 1000)
    before = await rows(pipe)
    keys = [row["session_id"] for row in before if row["snapshots"] and row["device_type"]][: len(BREAKAGES)]
    for key, breakage in zip(keys, BREAKAGES, strict=True):
        await pipe.sql.execute(f"UPDATE user_sessions SET {breakage} WHERE session_id = $1", key)
    _, found = await run(pipe, check=True)
    for key, breakage in zip(keys, BREAKAGES, strict=True):
        assert breakage.partition(" = ")[0] in found.get(key, ()), breakage
    assert set(found) == set(keys)
    assert set((await run(pipe, check=False))[1]) == set(keys)
    assert await rows(pipe) == before
    assert (await run(pipe, check=True))[1] == {}


async def test_rows_without_facts_facts_without_rows_and_what_retention_dropped(pipe: Service) -> None:
    await fill(pipe, 5)
    before = await rows(pipe)
    await pipe.sql.execute("DELETE FROM user_sessions WHERE session_id = $1", before[0]["session_id"])
    columns = "session_id, subject, at, last_at, received_at, interactions, snapshots, page_views, events, metrics"
    for key, age in (("ghost", 0), ("old", 300)):
        await pipe.sql.execute(
            f"INSERT INTO user_sessions ({columns}) VALUES ($1, 'session:' || $1, now(), now(), $2, 7, 0, 0, 0, 0)",
            *(key, datetime.now(UTC) - timedelta(days=age)),
        )
    result, found = await run(pipe, check=True)
    assert found == {before[0]["session_id"]: {"(row)"}, "ghost": {"(row)"}}
    assert result.left == 1
    await run(pipe, check=False)
    after = {row["session_id"]: row["interactions"] for row in await rows(pipe)}
    assert after == {row["session_id"]: row["interactions"] for row in before} | {"old": 7}


async def test_a_device_that_says_nothing_leaves_no_trace(pipe: Service) -> None:
    for device in ({"type": "tablet"}, {}):
        data = {"eventType": "click", "category": "nest", "deviceInfo": device}
        await pipe.settle(await pipe.send({"kind": "interaction.recorded", "sessionId": "s", "data": data}))
    assert await pipe.sql.fetchval("SELECT device_type FROM user_sessions") == "tablet"
    assert (await run(pipe, check=True))[1] == {}


async def test_readers_see_the_rebuilt_state(pipe: Service) -> None:
    await pipe.settle(await pipe.send({"kind": "page.viewed", "sessionId": "s"}))
    await pipe.sql.execute("UPDATE user_sessions SET page_views = 5")
    for model in [key async for key in pipe.redis.scan_iter("*:model:*")]:
        await pipe.redis.delete(model)
    assert (await pipe.get("/v1/sessions/s")).body["pageViews"] == 5  # now it is in the cache
    await run(pipe, check=False)
    assert (await pipe.get("/v1/sessions/s")).body["pageViews"] == 1


async def test_the_workers_go_on(pipe: Service) -> None:
    """Rebuilds and checks, again and again, while actions come in: no check sees half a batch."""
    stretch = simulated(60, seed=9)

    async def traffic() -> None:
        for lane in stretch.lanes:
            for request in lane:
                await post(pipe, request)

    playing = asyncio.create_task(traffic())
    rounds = 0
    while not playing.done() or rounds < 3:
        assert (await run(pipe, check=rounds % 2 == 0))[1] == {}
        rounds += 1
    await playing
    await settled(pipe)
    assert (await run(pipe, check=True))[1] == {}
    facts = await pipe.sql.fetchval("SELECT count(*) FROM interaction_events")
    assert facts == await pipe.sql.fetchval("SELECT sum(interactions) FROM user_sessions")


async def test_checklists(pipe: Service) -> None:
    kinds = ("action_completed", {"action": "created_clip", "projectId": "p"}), ("step_skipped", {"step": "WELCOME"})
    sent = [
        {"kind": f"onboarding.{kind}", "userId": f"u{n % 5}", "orgId": f"o{n % 2}", "data": data}
        for n in range(12)
        for kind, data in kinds
    ]
    await pipe.settle(await pipe.send({"actions": sent}))
    result, found = await run(pipe, check=True, table="onboarding")
    assert (result.seen, found) == (5, {})
    assert (await pipe.get("/v1/onboarding/progress?userId=u3")).body["hasCreatedClip"] is True
    for broken in (
        "UPDATE onboarding_actions SET count = 9 WHERE user_id = 'u0'",
        "UPDATE onboarding_progress SET completed_at = now() WHERE user_id = 'u1'",
        "UPDATE onboarding_organizations SET qualified_at = now() WHERE user_id = 'u2' AND org_id = 'o0'",
        "DELETE FROM onboarding_actions WHERE user_id = 'u3'",
        "DELETE FROM onboarding_progress WHERE user_id = 'u3'",
        "DELETE FROM onboarding_organizations WHERE user_id = 'u3'",
        "INSERT INTO onboarding_actions VALUES ('u4', 'flew', now(), now(), 1, now())",
        "INSERT INTO onboarding_actions VALUES ('ghost', 'flew', now(), now(), 1, now())",
    ):
        await pipe.sql.execute(broken)
    _, found = await run(pipe, check=True, table="onboarding")
    assert {key: min(fields) for key, fields in found.items()} == {
        "u0": "created_clip.count",
        "u1": "WELCOME.completed_at",
        "u2": "o0.qualified_at",
        "u3": "(row)",
        "u4": "flew.count",
        "ghost": "(row)",
    }
    await run(pipe, check=False, table="onboarding")
    assert (await run(pipe, check=True, table="onboarding"))[1] == {}
    assert await pipe.sql.fetchval("SELECT count(*) FROM onboarding_actions WHERE action = 'flew'") == 0


async def test_a_partition_that_stays_locked(pipe: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "LOCK_TRIES", 2)
    monkeypatch.setattr(rebuild, "LOCK_SECONDS", 0.05)
    await fill(pipe, 3)
    async with pipe.sql.acquire() as conn, conn.transaction():
        await conn.execute("SELECT FROM partitions FOR UPDATE")
        with pytest.raises(rebuild.Busy, match="was locked for"):
            await run(pipe, check=False)
        assert (await run(pipe, check=True))[1] == {}  # a check takes no lock


async def test_the_command(pipe: Service, operator: Operator) -> None:
    await pipe.settle(await pipe.send({"kind": "page.viewed", "sessionId": "s"}))
    ran = await operator.run("rebuild", "--check")
    assert (ran.code, ran.err) == (0, "")
    await pipe.sql.execute("UPDATE user_sessions SET page_views = 5")
    ran = await operator.run("rebuild", "--check")
    assert ran.code == 1
    assert "user_sessions 's'  page_views: kept 5, rebuilt 1" in ran.out
    assert "1 looked at, 1 differ" in ran.out
    ran = await operator.run("rebuild")
    assert ran.code == 0
    assert await pipe.sql.fetchval("SELECT page_views FROM user_sessions") == 1
