"""Connections that share a server's connection with those of other processes, behind a pgbouncer."""

from __future__ import annotations

import asyncpg
import pytest

from db import connect


async def test_the_statement_of_a_cursor_has_a_name_that_no_other_process_gives(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[set[str]] = []
    for process in ("one", "other"):
        monkeypatch.setattr(connect, "_PROCESS", process)
        monkeypatch.setattr(asyncpg.connection, "_uid", 0)
        conn = await connect.postgres(database_url)
        async with conn.transaction():
            cursor = await conn.cursor("SELECT n FROM generate_series(1, $1::int) n", 100)
            names.append({row[0] for row in await conn.fetch("SELECT name FROM pg_prepared_statements")})
            assert len(await cursor.fetch(200)) == 100
        await conn.close()
    one, other = names  # behind a pgbouncer the first may still be there
    assert one
    assert other - one


async def test_nothing_is_left_prepared_by_a_plain_query(database_url: str) -> None:
    conn = await connect.postgres(database_url)
    assert await conn.fetchval("SELECT $1::int", 5) == 5
    assert await conn.fetch("SELECT name FROM pg_prepared_statements") == []
    await conn.close()
