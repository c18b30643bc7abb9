"""A whole Milepost as processes of its own, every link through a proxy that can be cut, every process by its id."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import asyncpg
from redis.asyncio import Redis

from bench.proxy import Proxy
from db import connect, dev, identity, ports, postgres_server, supervise, valkey_server
from db.output import Output
from db.settings import Settings
from db.state import State

ROOT: Final = Path(__file__).parents[2]
LINKS: Final = ("api-valkey", "api-postgres", "worker-valkey", "worker-postgres")
PARTITIONS: Final = 8


class Violation(Exception):
    """A guarantee was broken; the text says which, and of which actions."""


class Journal(Output):
    """The supervisor's words, into a file."""

    def __init__(self, path: Path) -> None:
        """Lines are appended to `path`."""
        super().__init__([])
        self.path = path

    def say(self, text: str) -> None:
        """One line, with the time."""
        with self.path.open("a") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def lines(self, name: str, text: str) -> None:
        """Lines of a process that has no log of its own."""
        with self.path.open("a") as file:
            file.write(text)


class System:
    """Postgres, Valkey, API and worker processes, supervised as `db.up` does it. Use it as `async with`."""

    def __init__(
        self,
        *,
        apis: int = 2,
        workers: int = 2,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        prepare: Callable[[State], None] | None = None,
    ) -> None:
        """`env` adds settings of the processes; `folder` (made if missing) is kept, else a temporary one is removed
        when all went well; `prepare` is called when the servers' folders are there, and before they are started."""
        self.names = [f"api-{n + 1}" for n in range(apis)] + [f"worker-{n + 1}" for n in range(workers)]
        self.extra = dict(env or {})
        self.prepare = prepare
        self._own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="milepost-chaos-"))
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o711)
        self.proxies: dict[str, Proxy] = {}
        self.keepers: dict[str, supervise.Keeper] = {}
        self.ports = {name: ports.free() for name in self.names if name.startswith("api")}
        self.database_url = self.redis_url = self.key = ""

    async def __aenter__(self) -> Self:
        """Everything runs, and the first API answers."""
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Everything is stopped; the folder with logs and data stays when something went wrong."""
        await self._stop()
        if error is None and self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _start(self) -> None:
        self.state = State(self.folder / "state")
        self.output = Journal(self.state.path / "log" / "supervisor.log")
        valkey, postgres = valkey_server.server(self.state), postgres_server.server(self.state)
        if self.prepare is not None:
            self.prepare(self.state)
        self.redis_url, self.database_url = valkey.url, postgres.url
        servers = {server.name: supervise.from_server(server) for server in (valkey, postgres)}
        for name, program in servers.items():
            self.keepers[name] = supervise.Keeper(program, self.output)
        await asyncio.gather(*(self.keepers[name].ready() for name in servers))
        for link in LINKS:
            url = self.redis_url if link.endswith("valkey") else self.database_url
            self.proxies[link] = Proxy(urlsplit(url).port or 0)
            await self.proxies[link].start()
        settings = Settings(_env_file=None, database_url=self.database_url, redis_url=self.redis_url, port=1)
        described = dev.describe(self.state, settings)
        await dev.provision(described)
        self.key = described.serviceKey
        for name in self.names:
            self.launch(name)
        await self.answering()

    async def _stop(self) -> None:
        for name, keeper in self.keepers.items():
            if keeper.pid and name not in {"valkey", "postgres"}:
                with suppress(ProcessLookupError):
                    os.kill(keeper.pid, signal.SIGCONT)
        programs = [name for name in self.keepers if name not in {"valkey", "postgres"}]
        await asyncio.gather(*(self.halt(name) for name in programs))
        for name in ("postgres", "valkey"):
            if name in self.keepers:
                await self.halt(name)
        for proxy in self.proxies.values():
            await proxy.stop()

    @property
    def urls(self) -> list[str]:
        """Where the APIs are."""
        return [f"http://127.0.0.1:{port}" for port in self.ports.values()]

    @property
    def logs(self) -> Path:
        """The folder of all logs."""
        return self.state.path / "log"

    def log(self, name: str) -> str:
        """What a process has written."""
        path = self.logs / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def environment(self, name: str) -> dict[str, str]:
        """What a process finds in its environment: the servers behind the proxies."""
        role = name.partition("-")[0]
        metrics = self.state.path / "metrics"
        metrics.mkdir(exist_ok=True)
        plain = {key: value for key, value in os.environ.items() if not key.startswith("MILEPOST_")}
        return plain | {
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
            "MILEPOST_DATABASE_URL": self._through(self.database_url, f"{role}-postgres"),
            "MILEPOST_REDIS_URL": self._through(self.redis_url, f"{role}-valkey"),
            "MILEPOST_JWT_SECRET": self.state.secrets["jwtSecret"],
            "MILEPOST_PARTITIONS": str(PARTITIONS),
            "MILEPOST_SHED_ABOVE": "0",
            "MILEPOST_PORT": str(self.ports.get(name, 0)),
            "MILEPOST_LOG_FORMAT": "json",
            **self.extra,
        }

    def _through(self, url: str, link: str) -> str:
        parts = urlsplit(url)
        return parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{self.proxies[link].port}")).geturl()

    def launch(self, name: str, env: Mapping[str, str] | None = None) -> None:
        """Keep this program running."""
        program = supervise.Program(
            name,
            (*identity.until_parent_ends(signal.SIGKILL), sys.executable, "-m", name.partition("-")[0]),
            env=self.environment(name) | dict(env or {}),
            log=self.state.log(name),
        )
        self.keepers[name] = supervise.Keeper(program, self.output)

    async def halt(self, name: str) -> None:
        """Stop it in order, and do not start it again."""
        await self.keepers.pop(name).stop()

    async def restart_server(self, name: str, change: object = None) -> None:
        """Stop an embedded server, call `change`, and keep it running again."""
        program = self.keepers[name].program
        await self.halt(name)
        if callable(change):
            change()
        self.keepers[name] = supervise.Keeper(program, self.output)
        await self.keepers[name].ready()

    def send(self, name: str, how: signal.Signals) -> bool:
        """A signal to this process; False when it is not there at the moment."""
        keeper = self.keepers.get(name)
        if keeper is None or keeper.pid is None:
            return False
        try:
            os.kill(keeper.pid, how)
        except ProcessLookupError:
            return False
        return True

    def backends(self) -> list[int]:
        """Postgres' processes that serve the drain or the API."""
        keeper = self.keepers.get("postgres")
        if keeper is None or keeper.pid is None:
            return []
        found = []
        with suppress(FileNotFoundError, ProcessLookupError):
            for pid in map(int, Path(f"/proc/{keeper.pid}/task/{keeper.pid}/children").read_text().split()):
                with suppress(FileNotFoundError, ProcessLookupError):
                    if b"127.0.0.1(" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        found.append(pid)
        return found

    async def answering(self, seconds: float = 60) -> None:
        """Until every API says that it is ready."""
        for url in self.urls:
            if not await ports.answers(f"{url}/readyz", seconds):
                raise Violation(f"{url}/readyz does not answer 200 within {seconds:g} s: see {self.logs}")

    async def conn(self) -> asyncpg.Connection:
        """A connection of ours, past the proxies."""
        return await connect.postgres(self.database_url, "milepost-chaos")

    def redis(self) -> Redis:
        """A client of ours, past the proxies."""
        return connect.redis(self.redis_url)
