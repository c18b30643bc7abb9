"""`python -m db`: the schema, the catalog and the service keys of a Milepost database."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import asyncpg
import typer
from redis.exceptions import RedisError
from rich.table import Table

from db import command, connect, days, dev, dump, migrate, schema, service_keys, stored_catalog
from db import status as statuses
from db.command import run
from db.settings import stop
from db.terminal import commands, console
from jobs import catalog as catalogs
from jobs.usage import plans

app = commands(
    "Schema, catalog and service keys of the database in MILEPOST_DATABASE_URL, or of a running `make up`.\n\n"
    "Examples: python -m db migrate · python -m db status · python -m db keys create shop --scope ingest"
)
keys = commands(
    "Service keys: what other programs send as `Authorization: Bearer mp_…`.\n\n"
    "Examples: python -m db keys create shop --scope ingest --scope read · python -m db keys revoke shop"
)
app.add_typer(keys, name="keys")


@app.command("migrate")
def migrate_(
    backup: Annotated[Path | None, typer.Option(help="write a backup to this file first")] = None,
    lock_timeout: Annotated[float, typer.Option(help="seconds to wait for a table that others have locked")] = 5,
) -> None:
    """Bring the schema up to date; all migrations in one transaction, safe to run by several at once.

    Example: python -m db migrate --backup before.dump
    """
    if backup is not None:
        _backup(backup)
    applied = run(_migrate(lock_timeout))
    console.print("\n".join(f"applied {name}" for name in applied) or "nothing to do: the schema is up to date")


async def _migrate(lock_seconds: float) -> list[str]:
    async with command.postgres() as conn:
        applied = await migrate.up(conn, lock_seconds=lock_seconds)
        await days.make(conn)
    return applied


@app.command()
def rollback(
    to: Annotated[str | None, typer.Option(help="undo all that came after this version; 0 for everything")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Undo the newest migration, or those after a version. The data of dropped tables is gone.

    Example: python -m db rollback --to 0001
    """
    where = command.place(command.database_url())
    if not yes and not typer.confirm(f"Undo {f'everything after {to}' if to else 'the newest migration'} on {where}?"):
        raise typer.Exit(1)
    undone = run(_rollback(to))
    console.print("\n".join(f"undone {name}" for name in undone) or "nothing to undo")


async def _rollback(to: str | None) -> list[str]:
    async with command.postgres() as conn:
        return await migrate.down(conn, to)


@app.command()
def status() -> None:
    """Show migrations, partitions with their positions, tables with their days and sizes.

    Example: python -m db status
    """
    statuses.show(run(_status()), console)


async def _status() -> statuses.Status:
    async with command.postgres() as conn:
        return await statuses.read(conn)


@app.command()
def backup(file: Annotated[Path, typer.Argument(help="where to write it")]) -> None:
    """Write a backup of the whole database with pg_dump.

    Example: python -m db backup milepost.dump
    """
    _backup(file)


def _backup(file: Path) -> None:
    run(asyncio.to_thread(dump.backup, command.database_url(), file))
    console.print(f"backup written to {file} ({file.stat().st_size:,} bytes)")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="what `backup` wrote")],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Put a backup in the place of what the database holds now. Stop the API and the workers first.

    Example: python -m db restore milepost.dump
    """
    url = command.database_url()
    if not yes and not typer.confirm(f"Replace what {command.place(url)} holds?"):
        raise typer.Exit(1)
    run(asyncio.to_thread(dump.restore, url, file))
    console.print(f"restored from {file}")


@app.command("schema")
def schema_(
    check: Annotated[bool, typer.Option("--check", help="only compare; exit 1 on a difference")] = False,
) -> None:
    """Write db/schema.sql from a freshly migrated throw-away server, or compare it.

    Example: python -m db schema --check
    """
    current = run(schema.fresh())
    committed = schema.FILE.read_text() if schema.FILE.exists() else ""
    difference = schema.difference(committed, current)
    if not check:
        schema.FILE.write_text(current)
        console.print("db/schema.sql is as it was" if not difference else "db/schema.sql is written")
    elif difference:
        sys.stdout.write(f"{difference}\n")
        stop("db/schema.sql is not what the migrations lead to: run `python -m db schema`", 1)


@app.command()
def seed(
    file: Annotated[Path | None, typer.Argument(help="a catalog.toml; without it the one as shipped")] = None,
) -> None:
    """Put a catalog in the place of the stored one, without a restart; a wrong one changes nothing.

    Examples: python -m db seed · python -m db seed catalog.toml
    """
    body = stored_catalog.shipped() if file is None else _read(file)
    try:
        new = catalogs.parse(body)
        lines = run(_seed(body, new))
    except catalogs.Wrong as error:
        stop(f"{file or stored_catalog.FILE.name}, {error}; nothing was changed", 1)
    console.print("\n".join(lines), markup=False)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        stop(f"{file} cannot be read: {error.strerror}", 1)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        stop(f"{file}, line {line}: not UTF-8; nothing was changed", 1)


async def _stored(conn: asyncpg.Connection) -> catalogs.Catalog:
    try:
        return await catalogs.load(conn)
    except catalogs.Wrong:  # a newer version of the code may have stored it
        return catalogs.default()


async def _seed(body: str, new: catalogs.Catalog) -> list[str]:
    async with command.postgres() as conn:
        old = await _stored(conn)
        async with conn.transaction():
            changed = await stored_catalog.store(conn, body)
            versions = await plans.seed(conn, new, datetime.now(UTC))
        lines = (catalogs.changes(old, new) if changed else []) + versions
        try:
            async with connect.redis(command.settings().log_url) as client:
                await stored_catalog.publish(conn, client)
        except (RedisError, OSError, ValueError) as error:
            late = "the worker knows it, the API processes within a minute"
            sys.stderr.write(f"Stored, but Redis cannot be told ({command.explain(error)}): {late}.\n")
    return lines or ["stored; it means what was stored before" if changed else "nothing to do: it is stored already"]


@app.command()
def token(
    user: Annotated[str | None, typer.Argument(help="the user's id; without it the user of `make up`")] = None,
    org: Annotated[str | None, typer.Option(help="the id of an organisation that the user acts for")] = None,
) -> None:
    """Print a user token for trying things out, good for 30 days, signed as this installation's HS256 tokens are.

    Referrals are an organisation's: they need a token with --org.

    Examples: python -m db token ada · python -m db token ada --org acme
    """
    started, found = command.started(), command.settings()
    secret, user = found.jwt_secret or started.get("jwtSecret"), user or started.get("userId")
    if not secret:
        stop("no secret to sign with: set MILEPOST_JWT_SECRET, or start with make up (its folder: STATE=.milepost)", 1)
    if not user:
        stop("no user: name one, like `python -m db token ada`", 1)
    sys.stdout.write(f"{dev.user_token(found, secret, user, org)}\n")


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="who will use it")],
    scope: Annotated[list[str], typer.Option(help="ingest, read or admin; may be repeated")],
) -> None:
    """Create a key and print it, this once.

    Examples: python -m db keys create website --scope ingest · python -m db keys create ops --scope admin
    """
    sys.stdout.write(f"{run(_create(name, scope))}\n")
    sys.stderr.write("Keep it: it is not shown again.\n")


async def _create(name: str, scopes: list[str]) -> str:
    async with command.postgres() as conn:
        return await service_keys.create(conn, name, scopes)


@keys.command("list")
def list_keys() -> None:
    """List all keys; the keys themselves are kept as a hash only.

    Example: python -m db keys list
    """
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("id", "name", "scopes", "created", "revoked"):
        table.add_column(column, overflow="fold")
    for row in run(_listed()):
        created, revoked = (f"{at:%Y-%m-%d %H:%M}" if at else "" for at in (row["created_at"], row["revoked_at"]))
        table.add_row(str(row["id"]), row["name"], " ".join(row["scopes"]), created, revoked)
    console.print(table)


async def _listed() -> list[asyncpg.Record]:
    async with command.postgres() as conn:
        return await service_keys.listed(conn)


@keys.command("revoke")
def revoke_key(id_or_name: Annotated[str, typer.Argument(help="a name revokes all keys of that name")]) -> None:
    """Revoke a key. API processes notice within MILEPOST_KEY_CACHE_SECONDS.

    Example: python -m db keys revoke website
    """
    number = run(_revoke(id_or_name))
    if not number:
        stop(f"there is no unrevoked key {id_or_name!r}: `python -m db keys list` shows them", 1)
    console.print(f"revoked {number} key{'s' if number > 1 else ''}")


async def _revoke(id_or_name: str) -> int:
    async with command.postgres() as conn:
        hashes = await service_keys.revoke(conn, id_or_name)
    if hashes:
        await _tell_redis(hashes)
    return len(hashes)


async def _tell_redis(hashes: list[str]) -> None:
    url = command.settings().log_url
    late = "the API may believe the key for up to 5 minutes more"
    if not url:
        sys.stderr.write(f"Revoked, but no MILEPOST_REDIS_URL is set: {late}.\n")
        return
    try:
        async with connect.redis(url) as client:
            await service_keys.forget(client, hashes)
    except (RedisError, OSError) as error:
        sys.stderr.write(f"Revoked, but Redis cannot be told ({command.explain(error)}): {late}.\n")


if __name__ == "__main__":
    app(prog_name="python -m db")
