"""The oldest servers that Milepost supports, as Debian 12 has them: PostgreSQL 15, Redis 7.0, and pgbouncer 1.18.

`make oldest` runs tests on them. With TEST_SERVERS=oldest they take the place of the embedded servers, in chaos
scenarios too; with TEST_SERVERS=pooled the tests and what they start also reach Postgres through pgbouncer, in
transaction mode, with the settings that docs/operations.md tells.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import pytest

from db import embedded, identity, ports, postgres_server, valkey_server
from db.server import Server
from tests.tools import lacks

POSTGRES: Final = Path("/usr/lib/postgresql/15/bin")
PROGRAMS: Final = {
    "postgresql-15": str(POSTGRES / "postgres"),
    "redis-server": "redis-server",
    "pgbouncer": "pgbouncer",
}
"""By the packages that have them."""
OPERATIONS: Final = Path(__file__).parents[1] / "docs" / "operations.md"
wanted: Final = os.environ.get("TEST_SERVERS", "")
pooled: Final = wanted == "pooled"

embedded_only = pytest.mark.skipif(bool(wanted), reason="db/schema.sql is written by the embedded PostgreSQL")
direct_only = pytest.mark.skipif(
    pooled, reason="not for a pgbouncer: it answers itself, or pg_dump would go through it"
)
pooled_only = pytest.mark.skipif(not pooled, reason="runs behind a pgbouncer: make oldest")


def replace(patch: pytest.MonkeyPatch) -> None:
    """Let everything that starts embedded servers in this process start the old ones."""
    if wanted not in {"", "oldest", "pooled"}:
        pytest.exit(f"TEST_SERVERS is oldest or pooled, not {wanted}", 2)
    if not wanted:
        return
    missing = [package for package, program in PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        lacks(f"the oldest servers: apt install {' '.join(missing)}")
    binary = postgres_server.binary
    servers = {name: POSTGRES / name for name in ("postgres", "initdb")}  # pg_dump and psql stay those of the wheel
    patch.setattr(postgres_server, "binary", lambda name: servers.get(name) or binary(name))
    patch.setattr(postgres_server, "LOCALE", ("--locale=C.UTF-8",))
    patch.setattr(postgres_server, "_same_version", lambda folder: None)
    redis = Path(shutil.which("redis-server") or "")
    patch.setattr(valkey_server, "_binary", lambda: redis)


def versions() -> list[str]:
    """What the servers say of themselves, if tests run on them."""
    programs = PROGRAMS.values() if wanted else ()
    said = [subprocess.run([program, "--version"], capture_output=True, text=True, check=True) for program in programs]
    return [done.stdout.splitlines()[0] for done in said]


@contextmanager
def pgbouncer(url: str) -> Iterator[str]:
    """The URL of a pgbouncer before this server, configured as docs/operations.md shows it."""
    parts, port = urlsplit(url), ports.free()
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as made:
        (folder := Path(made) / "pgbouncer").mkdir()
        identity.own(folder)
        users, settings = folder / "userlist.txt", folder / "pgbouncer.ini"
        users.write_text(f'"{parts.username}" "{unquote(parts.password or "")}"\n')
        settings.write_text(_configured(parts.port or 5432, port, users))
        argv = (
            *identity.unprivileged(Path(shutil.which("pgbouncer") or ""), folder),
            *identity.until_parent_ends(signal.SIGTERM),
            *("pgbouncer", str(settings)),
        )
        there = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}").geturl()
        server = Server("pgbouncer", argv, signal.SIGTERM, there, folder / "log", lambda pid: _answers(port))
        with embedded._started(server):
            yield there


def _configured(postgres: int, port: int, users: Path) -> str:
    """The example of the documentation, with other ports and another place of the passwords."""
    found = re.search(r"```ini\n(\[databases\]\n.*?)```", OPERATIONS.read_text(), re.DOTALL)
    assert found, "docs/operations.md shows no pgbouncer.ini"
    changes = {
        "port=5432": f"port={postgres}",
        "listen_port = 6432": f"listen_port = {port}",
        "/etc/pgbouncer/userlist.txt": str(users),
    }
    text = found[1]
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text + "unix_socket_dir =\n"


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
