"""The embedded servers: PostgreSQL and Valkey from wheels, on 127.0.0.1, under the identity of whoever starts them.

`db.up` supervises them for `make up`; tests and benchmarks take `temporary()`.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from db import postgres_server, valkey_server
from db.server import Server, StartError
from db.state import State

START_SECONDS = 60.0
STOP_SECONDS = 15.0


@dataclass(frozen=True)
class Urls:
    """Where the servers are, with their passwords."""

    database_url: str
    redis_url: str


@contextmanager
def temporary(*, fsync: bool = True, within: str | None = None) -> Iterator[Urls]:
    """Fresh servers, removed with their data at the end. `fsync=False` is faster, and not for measurements.

    `within`: the folder for their data; None: the system's own for temporary files.
    """
    with (
        tempfile.TemporaryDirectory(prefix="milepost-", dir=within) as folder,
        running(Path(folder), fsync=fsync) as urls,
    ):
        yield urls


@contextmanager
def running(path: Path, *, fsync: bool = True) -> Iterator[Urls]:
    """Both servers on this state folder while the block lasts; they end with this process, kill -9 included.

    Call it from the main thread: to the kernel, a process that was started by another thread ends with that thread.
    """
    state = State(path)
    with state.locked(), ExitStack() as stack:
        valkey = valkey_server.server(state, fsync=fsync)
        stack.enter_context(_started(valkey))
        postgres = postgres_server.server(state, fsync=fsync)
        stack.enter_context(_started(postgres))
        yield Urls(postgres.url, valkey.url)


@contextmanager
def _started(server: Server) -> Iterator[None]:
    with server.log.open("ab") as log:
        process = subprocess.Popen(
            server.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
        )
    try:
        _await_ready(server, process)
        yield
    finally:
        process.send_signal(server.stop_signal)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_ready(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not server.ready(process.pid):
        if process.poll() is not None:
            raise StartError(f"{server.name} ended with exit code {process.returncode} at its start: see {server.log}")
        if time.monotonic() > deadline:
            raise StartError(f"{server.name} was not ready within {START_SECONDS:.0f} s: see {server.log}")
        time.sleep(0.01)
