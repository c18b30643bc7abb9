"""Numbers that an older version kept: brought into the form of this one, and back."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from db import connect, days, migrate
from jobs.action import BOT, Action
from jobs.analytics import rolling
from tests.jobs.making import NOW, make
from tests.jobs.test_analytics import record


def traffic() -> list[Action]:
    """Some of everything, over two weeks; one session is a bot's."""
    rng, made = random.Random(8), list[Action]()
    for n in range(120):
        session, at = f"s{n % 12}", NOW - timedelta(days=n % 12, minutes=rng.randrange(300))
        chose = {"eventType": "selection", "category": rng.choice(["size", 'a"b\\ü']), "selectionValue": f"v{n % 3}"}
        made.append(make(f"i{n}", data=chose, at=at, session_id=session, flags=BOT if session == "s3" else 0))
        made.append(make(f"p{n}", "page.viewed", {"path": rng.choice(["/", "/ü"])}, at=at, session_id=session))
        if n % 4 == 0:
            saved = {"configuration": {"n": n % 8}, "trigger": "order_attempt"}
            made.append(make(f"c{n}", "configuration.saved", saved, at=at, session_id=session))
        value = {"metricName": rng.choice(["lcp", "api_error"]), "value": rng.choice([1.5, 80.0])}
        path = {"additionalData": {"path": rng.choice(["/a", "/b"])}} if n % 3 else {}
        measured = make(f"m{n}", "metric.recorded", value | path, at=at, session_id=session)
        made.append(msgspec.structs.replace(measured, session_id=None, subject="metric:7"))
    return made


async def rolled(conn: asyncpg.Connection) -> list[tuple[Any, ...]]:
    """All numbers, when nothing waits."""
    while not (await rolling.roll(conn, datetime.now(UTC))).is_done:
        pass
    rows = await conn.fetch("SELECT grain, measure, start, key, n, total, most FROM rollups ORDER BY 1, 2, 3, 4")
    return [tuple(row) for row in rows]


async def test_down_and_up_again_the_numbers_are_the_same(empty_database_url: str) -> None:
    conn = await connect.postgres(empty_database_url)
    await migrate.up(conn)
    await days.make(conn)
    await record(conn, traffic())
    wanted = await rolled(conn)
    assert {"bot.next", "choice:size", "left", "path:api_error", "called:api_error", "metric:lcp"} <= {
        row[1] for row in wanted
    }
    await migrate.down(conn, "0017")
    old = {tuple(row) for row in await conn.fetch("SELECT DISTINCT measure, key FROM rollups")}
    assert {("choice", '["size","v1"]'), ("choice", '["a\\"b\\\\ü","v1"]')} <= old
    paths = {key.split(",")[0] for measure, key in old if measure == "metric:api_error"}
    assert paths == {'[""', '["/a"', '["/b"'}
    assert not {
        measure for measure, _ in old if measure.startswith(("bot.", "path:", "called:", "left", "choice:", "chosen"))
    }
    await migrate.up(conn)
    assert await rolled(conn) == wanted
    await conn.close()
