"""Every answer that the bench measures is there, on a database as a fill leaves it."""

from __future__ import annotations

from datetime import UTC, datetime

from bench import answers
from bench.fill import others, tracking
from db import connect
from tests.api.service import Service


async def test_each_answer_is_found_and_none_is_refused(pipe: Service) -> None:
    """`measure` raises at any status but 200."""
    now = datetime.now(UTC)
    await tracking.Fill(pipe.settings.database_url, now).run(100)
    conn = await connect.postgres(pipe.settings.database_url)
    await others.fill(conn, 200, now, lambda _done, _name: None)
    there = await answers.known(conn)
    await conn.close()
    key = await pipe.make_key("read", "admin")
    told: list[str] = []
    asked = await answers.measure(str(pipe.client.make_url("")), key, there, 1, lambda _n, name: told.append(name))
    assert told == [one.name for one in asked] == [one.name for one in answers.answers()]
    lines = answers.table(asked)
    assert len(lines) == sum(len(one.ranges) or 1 for one in asked)
    assert all(line.p95 >= line.p50 > 0 for line in lines)
