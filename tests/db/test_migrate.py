"""Migrations up and down, by several at once, and under a lock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, date, datetime
from pathlib import Path

import asyncpg
import pytest

from db import connect, days, dump, migrate, schema
from tests import oldest

ALL = [path.stem for path in sorted(migrate.FOLDER.glob("*.sql"))]


def test_each_migration_has_a_number_of_its_own_and_follows_the_one_before() -> None:
    paths = sorted(migrate.FOLDER.glob("*.sql"))
    assert [int(path.name[:4]) for path in paths] == list(range(1, len(paths) + 1))
    depends = [path.read_text().split("\n-- depends:")[1].partition("\n")[0].strip() for path in paths]
    assert depends == ["", *(path.stem for path in paths[:-1])]


@oldest.direct_only
async def test_up_and_down_and_up_again(empty_database_url: str) -> None:
    conn = await connect.postgres(empty_database_url)
    before = schema.of(empty_database_url)
    assert await migrate.up(conn) == ALL
    first = schema.of(empty_database_url)
    assert await migrate.up(conn) == []
    assert await migrate.down(conn, "0") == ALL[::-1]
    assert schema.of(empty_database_url) == before
    assert await migrate.up(conn) == ALL
    assert schema.of(empty_database_url) == first != before
    await conn.close()


async def test_every_migration_by_itself(empty_database_url: str) -> None:
    """Each one's rollback leaves what was there before it, its day partitions included."""
    conn = await connect.postgres(empty_database_url)
    await migrate.up(conn)
    for name in ALL[::-1]:
        await days.make(conn)
        assert await migrate.down(conn) == [name]
        assert await migrate.status(conn) == [(other, other < name) for other in ALL]
    assert await migrate.down(conn) == []
    await conn.close()


async def test_down_to_a_version(empty_database_url: str) -> None:
    conn = await connect.postgres(empty_database_url)
    await migrate.up(conn)
    assert await migrate.down(conn, "0001") == ALL[:0:-1]
    assert await migrate.down(conn, ALL[0]) == []
    with pytest.raises(migrate.Failed, match="no applied migration '0999'; there are: 0001_pipe"):
        await migrate.down(conn, "0999")
    await conn.close()


async def test_onboarding_comes_and_goes_without_a_word_of_tracking_lost(empty_database_url: str) -> None:
    conn = await connect.postgres(empty_database_url)
    await migrate.up(conn)
    await days.make(conn)
    await conn.execute(
        "INSERT INTO tracked_events (subject, id, session_id, kind, at, received_at)"
        " VALUES ('session:s', 'a', 's', 'page.viewed', now(), now())"
    )
    fill = "INSERT INTO onboarding_actions VALUES ('ada', 'created_clip', now(), now(), 1, now())"
    await conn.execute(fill)
    assert await migrate.down(conn, "0004") == [name for name in ALL[::-1] if name > "0005"]
    assert await conn.fetchval("SELECT to_regclass('user_onboarding')") is None
    assert await conn.fetchval("SELECT count(*) FROM tracked_events") == 1
    assert await migrate.up(conn) == [name for name in ALL if name > "0005"]
    assert await conn.fetchval("SELECT count(*) FROM tracked_events") == 1
    await conn.execute(fill)
    assert await conn.fetchval("SELECT has_created_clip FROM user_onboarding WHERE user_id = 'ada'") is True
    await conn.close()


async def test_runners_at_the_same_time(empty_database_url: str) -> None:
    conns = [await connect.postgres(empty_database_url) for _ in range(4)]
    applied = await asyncio.gather(*(migrate.up(conn) for conn in conns))
    assert sorted(applied, key=len) == [[], [], [], ALL]
    made = await asyncio.gather(*(days.make(conn) for conn in conns))
    assert sorted(made)[:3] == [0, 0, 0]
    for conn in conns:
        await conn.close()


async def test_a_locked_table_fails_soon_and_leaves_nothing(database_url: str) -> None:
    conn, other = await connect.postgres(database_url), await connect.postgres(database_url)
    before = schema.of(database_url)
    async with other.transaction():
        await other.execute("SELECT 1 FROM user_sessions")  # a reader is enough to stand in a DROP TABLE's way
        started = time.monotonic()
        with pytest.raises(migrate.Failed, match="lock timeout; others hold a lock on the table"):
            await migrate.down(conn, "0", lock_seconds=0.1)
        assert time.monotonic() - started < 30
        assert all(applied for _, applied in await migrate.status(conn))
    assert schema.of(database_url) == before
    await conn.close()
    await other.close()


async def test_a_reader_does_not_stop_day_partitions(database_url: str) -> None:
    """ATTACH PARTITION must not wait for those who read or write the table."""
    conn, other = await connect.postgres(database_url), await connect.postgres(database_url)
    async with other.transaction():
        await other.execute("SELECT count(*) FROM interaction_events")
        await other.execute("LOCK TABLE interaction_events IN ROW EXCLUSIVE MODE")
        await conn.execute("SET lock_timeout = '2s'")
        far = date(2031, 1, 1)
        assert await conn.fetchval("SELECT ensure_days($1, $1)", far) > 0
    await conn.close()
    await other.close()


async def test_days_take_rows_of_their_day_and_go(conn: asyncpg.Connection) -> None:
    first, second = date(2031, 1, 1), date(2031, 1, 2)
    parents = await conn.fetchval("SELECT count(*) FROM pg_partitioned_table")
    assert await conn.fetchval("SELECT ensure_days($1, $2)", first, second) == 2 * parents
    assert await conn.fetchval("SELECT ensure_days($1, $2)", first, second) == 0
    insert = """
        INSERT INTO performance_metrics (subject, id, metric_name, value, at, received_at)
        VALUES ('s', $1, 'm', 1, $2, $2)
    """
    await conn.execute(insert, "late", datetime(2031, 1, 1, 23, 59, 59, 999999, tzinfo=UTC))
    await conn.execute(insert, "early", datetime(2031, 1, 2, tzinfo=UTC))
    assert await conn.fetch("SELECT id FROM performance_metrics_20310101") == [("late",)]
    dropped = [row[0] for row in await conn.fetch("SELECT drop_days($1)", second)]
    assert "performance_metrics_20310101" in dropped
    assert not [name for name in dropped if name >= "performance_metrics_20310102" and name.startswith("performance")]
    assert await conn.fetch("SELECT id FROM performance_metrics") == [("early",)]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql://me:p%40ss@a:1,b/mile?target_session_attrs=primary&sslmode=require",
            {
                "PGHOST": "a,b",
                "PGPORT": "1,5432",
                "PGUSER": "me",
                "PGPASSWORD": "p@ss",
                "PGDATABASE": "mile",
                "PGTARGETSESSIONATTRS": "primary",
                "PGSSLMODE": "require",
            },
        ),
        ("postgresql://[::1]:7/mile", {"PGHOST": "::1", "PGPORT": "7", "PGDATABASE": "mile"}),
        ("postgresql:///mile?host=/run/postgresql", {"PGHOST": "/run/postgresql", "PGDATABASE": "mile"}),
    ],
)
def test_a_url_as_the_variables_of_libpq(url: str, expected: dict[str, str]) -> None:
    assert dump.environment(url) == expected


def test_what_an_older_server_refuses_is_not_restored_and_rows_are_left_alone() -> None:
    newer = [b"SET transaction_timeout = 0;\n", b"ALTER TABLE ONLY public.t ALTER COLUMN a SET (pg_attver=5);\n"]
    kept = [
        b"SET lock_timeout = 0;\n",
        b"ALTER TABLE ONLY public.t ALTER COLUMN a SET (n_distinct=5);\n",
        *(b"COPY public.t (a) FROM stdin;\n", *newer, b"\\.\n"),
        b"CREATE INDEX i ON public.t (a);\n",
    ]
    assert list(dump._for_every_server([*newer, *kept, *newer])) == kept


@oldest.pooled_only
async def test_a_backup_through_a_pgbouncer_is_refused(database_url: str, tmp_path: Path) -> None:
    (file := tmp_path / "milepost.dump").touch()
    for act in (dump.backup, dump.restore):
        with pytest.raises(dump.Failed, match="pgbouncer: name Postgres itself"):
            await asyncio.to_thread(act, database_url, file)


@oldest.direct_only
async def test_a_backup_is_put_back(database_url: str, empty_database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "milepost.dump"
    conn = await connect.postgres(database_url)
    await conn.execute("INSERT INTO partitions (id, position_ms) VALUES (3, 77)")
    await asyncio.to_thread(dump.backup, database_url, file)
    assert file.stat().st_mode & 0o077 == 0
    await conn.execute("UPDATE partitions SET position_ms = 78")
    for url in (database_url, empty_database_url):
        await asyncio.to_thread(dump.restore, url, file)
        restored = await connect.postgres(url)
        assert await restored.fetchval("SELECT position_ms FROM partitions WHERE id = 3") == 77
        await restored.close()
    broken = tmp_path / "broken.dump"
    broken.write_bytes(file.read_bytes()[:-3000])
    for wrong in (broken, tmp_path / "missing.dump"):
        with pytest.raises(dump.Failed):
            await asyncio.to_thread(dump.restore, database_url, wrong)
    assert await conn.fetchval("SELECT position_ms FROM partitions WHERE id = 3") == 77
    await conn.close()


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_what_wants_tls_is_dumped_by_the_machines_programs(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the wheel are built without it."""
    url = f"postgresql://127.0.0.1:1/mile?sslrootcert=x&sslmode={mode}"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(dump.Failed, match="speaks no TLS: install PostgreSQL's client programs"):
        dump.dump(url)
    own = tmp_path / "pg_dump"
    own.write_text("#!/bin/sh\necho $PGSSLMODE $PGSSLROOTCERT\n")
    own.chmod(0o700)
    assert dump.dump(url) == f"{mode} x\n".encode()
