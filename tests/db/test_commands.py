"""`python -m db …`: what it prints, and how it fails."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import jwt
import pytest
from typer.testing import CliRunner, Result

from db import connect, migrate, service_keys, stored_catalog
from db import keys as redis_keys
from db.__main__ import app
from db.settings import load
from tests import oldest

T = TypeVar("T")
COMMANDS = [
    "",
    "migrate",
    "rollback",
    "status",
    "backup",
    "restore",
    "schema",
    "seed",
    "token",
    "keys",
    "keys create",
    "keys list",
    "keys revoke",
]


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STATE", raising=False)


def run(command: str, database_url: str = "", redis_url: str = "", answer: str = "", **env: str) -> Result:
    load.cache_clear()
    env |= {"MILEPOST_DATABASE_URL": database_url, "MILEPOST_REDIS_URL": redis_url}
    return CliRunner().invoke(app, command.split(), input=answer, env=env)


def good(command: str, *urls: str, **more: str) -> str:
    result = run(command, *urls, **more)
    assert result.exit_code == 0, result.output
    return result.stdout


def failed(command: str, *urls: str, code: int = 1, **more: str) -> str:
    """The one line that it says."""
    result = run(command, *urls, **more)
    assert (result.exit_code, isinstance(result.exception, SystemExit)) == (code, True), result.output
    (line,) = result.stderr.splitlines()
    return line


def ask(url: str, question: Callable[[asyncpg.Connection], Coroutine[Any, Any, T]]) -> T:
    async def answer() -> T:
        conn = await connect.postgres(url)
        try:
            return await question(conn)
        finally:
            await conn.close()

    return asyncio.run(answer())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    text = good(f"{command} --help")
    assert "Example" in text
    assert f"python -m db {command}".strip() in " ".join(text.split())


@oldest.direct_only
def test_migrate_status_rollback(empty_database_url: str, tmp_path: Path) -> None:
    names = [path.stem for path in sorted(migrate.FOLDER.glob("*.sql"))]
    assert good("status", empty_database_url).count("missing") == len(names)
    assert good("migrate", empty_database_url).splitlines() == [f"applied {name}" for name in names]
    backup = tmp_path / "before.dump"
    text = good(f"migrate --backup {backup}", empty_database_url)
    assert "nothing to do" in text
    assert backup.stat().st_size > 1000
    text = good("status", empty_database_url)
    assert text.count("applied ") >= len(names)
    assert "interaction_events" in text
    # yesterday to two days ahead
    assert [line.split()[1] for line in text.splitlines() if line.startswith("interaction_events")] == ["4"]
    assert good("rollback --yes", empty_database_url) == f"undone {names[-1]}\n"
    good(f"restore {backup} --yes", empty_database_url)
    assert good("rollback --to 0 --yes", empty_database_url).splitlines() == [f"undone {name}" for name in names[::-1]]
    assert good("rollback --yes", empty_database_url) == "nothing to undo\n"


def test_a_restore_adds_up_no_counter_twice(empty_database_url: str, tmp_path: Path) -> None:
    good("migrate", empty_database_url)
    backup = tmp_path / "one.dump"
    both = "SELECT * FROM usage_rollups UNION ALL SELECT * FROM usage_changes"

    async def count(conn: asyncpg.Connection) -> None:
        await conn.execute(
            "INSERT INTO usage_counters (subject, action, period_start, used, reserved, records, plan, limit_version, "
            "hard, notified, revision, updated_at) VALUES ('user:a', 'M', 'epoch', 7, 0, 1, 'FREE', '', true, '[]', 0, "
            "now())"
        )

    async def sums(conn: asyncpg.Connection) -> list[tuple[Any, ...]]:
        return [
            tuple(row)
            for row in await conn.fetch(f"SELECT action, sum(subjects)::int, sum(used)::int FROM ({both}) r GROUP BY 1")
        ]

    ask(empty_database_url, count)
    good(f"migrate --backup {backup}", empty_database_url)
    ask(empty_database_url, lambda conn: conn.execute("UPDATE usage_counters SET used = 9"))
    assert ask(empty_database_url, sums) == [("M", 1, 9)]
    good(f"restore {backup} --yes", empty_database_url)
    assert ask(empty_database_url, sums) == [("M", 1, 7)]
    ask(empty_database_url, lambda conn: conn.execute("UPDATE usage_counters SET used = 8"))
    assert ask(empty_database_url, sums) == [("M", 1, 8)]


def test_rollback_asks(database_url: str) -> None:
    result = run("rollback", database_url, answer="n\n")
    assert result.exit_code == 1
    assert all(applied for _, applied in ask(database_url, migrate.status))
    assert "undone" in good("rollback", database_url, answer="y\n")


def test_a_locked_table_is_one_line(empty_database_url: str) -> None:
    """The first migration needs a table's name that somebody is just making."""
    good("migrate", empty_database_url)
    good("rollback --yes", empty_database_url)

    async def hold() -> Result:
        other = await connect.postgres(empty_database_url)
        async with other.transaction():
            await other.execute("LOCK TABLE _pogo_migration IN ACCESS EXCLUSIVE MODE")
            result = await asyncio.to_thread(run, "migrate --lock-timeout 0.1", empty_database_url)
        await other.close()
        return result

    result = asyncio.run(hold())
    assert result.exit_code == 1
    assert "lock timeout" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_keys_are_made_listed_and_revoked(database_url: str, redis_url: str) -> None:
    key = good("keys create shop --scope ingest --scope read", database_url, redis_url).strip()
    row = ask(database_url, lambda conn: service_keys.find(conn, service_keys.digest(key)))
    assert row is not None
    assert row["scopes"] == ["ingest", "read"]
    text = good("keys list", database_url, redis_url)
    assert str(row["id"]) in text
    assert key not in text
    assert good("keys revoke shop", database_url, redis_url) == "revoked 1 key\n"

    async def revoked() -> bool:
        async with connect.redis(redis_url) as client:
            return (await service_keys.recall(client, service_keys.digest(key)))[1]

    assert asyncio.run(revoked())
    assert "there is no unrevoked key 'shop'" in failed("keys revoke shop", database_url, redis_url)


def test_revoking_without_redis_says_what_that_means(database_url: str) -> None:
    good("keys create shop --scope ingest", database_url)
    result = run("keys revoke shop", database_url, "redis://127.0.0.1:1/0")
    assert result.exit_code == 0
    assert "up to 5 minutes more" in result.stderr


def test_a_scope_that_is_none(database_url: str) -> None:
    assert failed("keys create shop --scope write", database_url) == "scopes are ingest, read, admin; not write"


def test_without_a_url() -> None:
    assert failed("status", code=2).startswith("no database: set MILEPOST_DATABASE_URL")


def test_the_servers_of_make_up_are_found(database_url: str, redis_url: str, tmp_path: Path) -> None:
    written = json.dumps({"databaseUrl": database_url, "redisUrl": redis_url})
    for folder in (".milepost", "elsewhere"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "dev.json").write_text(written)
    assert "applied" in good("status")
    assert "applied" in good("status", STATE="elsewhere")
    (tmp_path / "elsewhere" / "dev.json").write_text("{")
    assert "dev.json cannot be read" in failed("status", code=2, STATE="elsewhere")


def test_a_url_goes_before_make_up(database_url: str, tmp_path: Path) -> None:
    (tmp_path / ".milepost").mkdir()
    (tmp_path / ".milepost" / "dev.json").write_text('{"databaseUrl": "postgresql://x:y@127.0.0.1:1/z"}')
    assert "applied" in good("status", database_url)


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("postgresql://me:hunter2@127.0.0.1:1/z", 1, "cannot use Postgres at 127.0.0.1:1/z: "),
        ("mysql://me:hunter2@host/z", 2, "MILEPOST_DATABASE_URL: a database looks like postgresql://"),
        ("hunter2", 2, "MILEPOST_DATABASE_URL: a database looks like postgresql://"),
    ],
)
def test_a_server_that_cannot_be_used(url: str, code: int, says: str) -> None:
    line = failed("migrate", url, code=code)
    assert line.startswith(says)
    assert "hunter2" not in line


@oldest.direct_only
def test_a_wrong_password_and_a_wrong_database(database_url: str) -> None:
    user, _, rest = database_url.rpartition("@")
    line = failed("status", f"{user}wrong@{rest}")
    assert "password authentication failed" in line
    assert user.rpartition(":")[2] not in line
    assert 'database "nowhere" does not exist' in failed("status", f"{database_url.rpartition('/')[0]}/nowhere")


def test_a_database_without_a_schema(empty_database_url: str) -> None:
    assert failed("keys list", empty_database_url).endswith("run `python -m db migrate` first")


@oldest.embedded_only
def test_the_schema_check(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert good("schema --check") == ""
    changed = tmp_path / "schema.sql"
    monkeypatch.setattr("db.schema.FILE", changed)
    assert "is written" in good("schema")
    changed.write_text(changed.read_text().replace("CREATE TABLE public.partitions", "CREATE TABLE public.shards"))
    result = run("schema --check")
    assert result.exit_code == 1
    assert "-CREATE TABLE public.shards (" in result.stdout
    assert "run `python -m db schema`" in result.stderr


def catalog_of(url: str) -> str | None:
    """What is stored."""

    async def question(conn: asyncpg.Connection) -> str | None:
        row = await stored_catalog.read(conn)
        return None if row is None else row[1]

    return ask(url, question)


def test_a_catalog_is_seeded(database_url: str, redis_url: str, tmp_path: Path) -> None:
    shipped = stored_catalog.shipped()
    plans = "plan ENTERPRISE: version 1\nplan FREE: version 1\nplan PROFESSIONAL: version 1\n"
    assert good("seed", database_url, redis_url) == plans
    assert good("seed", database_url, redis_url) == "nothing to do: it is stored already\n"
    file = tmp_path / "catalog.toml"
    text = shipped.replace('"CLIP"', '"TAPE"').replace('"VIEW_CLIPS", ', "")
    file.write_text(text.replace("DIAGRAM_UPLOAD = 5\n", "DIAGRAM_UPLOAD = 6\n"))
    lines = good(f"seed {file}", database_url, redis_url).splitlines()
    assert lines[0].startswith('onboarding.steps: ["WELCOME","UPLOAD_VIDEO","VIEW_CLIPS",')
    assert "referrals.prefix: CLIP -> TAPE" in lines
    assert lines[-2:] == ["plans.FREE.limits.DIAGRAM_UPLOAD: 5 -> 6", "plan FREE: version 2"]
    assert catalog_of(database_url) == file.read_text()
    told = asyncio.run(_told(redis_url))
    assert told is not None
    assert json.loads(told)[1] == file.read_text()


async def _told(redis_url: str) -> bytes | None:
    async with connect.redis(redis_url) as client:
        held: bytes | None = await client.get(redis_keys.CATALOG)
        return held


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"\n\n[courses]\nunknown = 'maybe'\n", "line 4: courses.unknown: Invalid enum value 'maybe'"),
        (b"\nx = \n", "line 2: Invalid value"),
        (b"\n\n# \xff\n", "line 3: not UTF-8"),
    ],
)
def test_a_wrong_catalog_changes_nothing(
    database_url: str, redis_url: str, tmp_path: Path, text: bytes, says: str
) -> None:
    good("seed", database_url, redis_url)
    file = tmp_path / "catalog.toml"
    file.write_bytes(text)
    line = failed(f"seed {file}", database_url, redis_url)
    assert line == f"{file}, {says}; nothing was changed"
    assert catalog_of(database_url) == stored_catalog.shipped()


def test_a_catalog_that_is_not_there(database_url: str, tmp_path: Path) -> None:
    assert failed(f"seed {tmp_path}/none.toml", database_url).endswith(
        "none.toml cannot be read: No such file or directory"
    )


def test_seeding_without_redis_says_what_that_means(database_url: str) -> None:
    result = run("seed", database_url, "redis://127.0.0.1:1")
    assert result.exit_code == 0
    assert result.stderr.startswith("Stored, but Redis cannot be told (")
    assert catalog_of(database_url) == stored_catalog.shipped()


def test_a_token_for_trying_things_out(tmp_path: Path) -> None:
    secret = "s" * 40
    demanded = {"MILEPOST_JWT_SECRET": secret, "MILEPOST_JWT_ISSUER": "here", "MILEPOST_JWT_AUDIENCE": "milepost"}
    made = good("token ada --org acme", **demanded).strip()
    claims = jwt.decode(made, secret, algorithms=["HS256"], issuer="here", audience="milepost")
    assert (claims["sub"], claims["org_id"]) == ("ada", "acme")
    assert "org_id" not in jwt.decode(good("token ada", MILEPOST_JWT_SECRET=secret).strip(), secret, ["HS256"])
    assert "MILEPOST_JWT_SECRET" in failed("token ada")
    assert "name one" in failed("token", MILEPOST_JWT_SECRET=secret)
    (tmp_path / ".milepost").mkdir()
    (tmp_path / ".milepost/dev.json").write_text(json.dumps({"jwtSecret": secret, "userId": "eve"}))
    assert jwt.decode(good("token --org acme").strip(), secret, ["HS256"])["sub"] == "eve"
