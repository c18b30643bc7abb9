"""`python -m db.up`: what `make up` and `make demo` run. Servers, schema, keys, then every program of the Procfile.

The order is the guarantee: nothing is started while the port is taken or the state folder is in use, no program starts
before the schema is there, and everything stops in the opposite order.
"""

import asyncio
import os
import shutil
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from db import dev, ports, postgres_server, supervise, valkey_server
from db.output import Output
from db.server import Server, StartError
from db.settings import Settings, load, stop
from db.state import State

EXAMPLES = """
Start Milepost: embedded Postgres and Valkey where no URL is set, the schema, and every program of the Procfile.

Examples:

  python -m db.up

  python -m db.up --port 9000 --state /var/tmp/milepost

  python -m db.up --demo --data sessions.ndjson

  MILEPOST_DATABASE_URL=postgresql://… MILEPOST_REDIS_URL=redis://… python -m db.up
"""
READY_SECONDS = 60.0
LOCAL = ("127.0.0.0/8", "::1/128")
ECHO_SECONDS = 0.3  # one Ctrl-C may arrive twice: from the terminal, and from make or a process manager

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@dataclass(frozen=True)
class Options:
    """The command line."""

    state: Path
    procfile: Path
    demo: bool
    data: Path | None


@app.command(help=EXAMPLES)
def main(
    port: Annotated[int | None, typer.Option(help="port of the API (default: MILEPOST_PORT, else 8080)")] = None,
    state: Annotated[Path, typer.Option(help="folder of the embedded servers' data and of the keys")] = Path(
        ".milepost"
    ),
    demo: Annotated[
        bool, typer.Option("--demo", help="play a stretch of traffic once it is up, then go on serving")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="file or folder of real data for the demo")] = None,
    procfile: Annotated[Path, typer.Option(help="what to run")] = Path("Procfile"),
) -> None:
    """Parse, run, and turn what the operator has to change into one line."""
    settings = load()
    if port is not None:
        settings = settings.model_copy(update={"port": port})
    if data is not None and not data.exists():
        stop(f"there is no {data}")
    try:
        sys.exit(asyncio.run(_until_stopped(_Up(settings, Options(state, procfile, demo, data)))))
    except StartError as error:
        stop(str(error), 1)
    except KeyboardInterrupt:
        sys.exit(130)


class _Up:
    """One run, from the first check to the last server's end."""

    def __init__(self, settings: Settings, options: Options) -> None:
        self.settings = settings
        self.options = options
        self.output = Output(["api", "worker"])
        self.programs = supervise.Supervisor(self.output)
        self.servers = supervise.Supervisor(self.output)
        self.player: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Start everything and go on until cancelled. StartError with one line when something is in the way."""
        state = State(self.options.state)
        with state.locked():
            await ports.check(self.settings.host, self.settings.port)
            try:
                await self._serve(state)
            finally:
                await asyncio.shield(self._stop())

    async def _serve(self, state: State) -> None:
        settings = await self._start_servers(state)
        described = dev.describe(state, settings)
        applied = await dev.provision(described)
        if applied:
            self.output.say(f"migrations applied: {', '.join(applied)}")
        file = dev.write(state, described)
        env = _environment(state, settings, described)
        await self.programs.start(supervise.from_procfile(self.options.procfile, env))
        if not await ports.answers(f"{described.url}/readyz", READY_SECONDS):
            self.output.say(f"the API does not answer {described.url}/readyz yet: its lines above say why")
        elif self.options.demo:
            await self._play(state, described.url, env)
        if settings.env == "development" and not settings.webhook_allow:
            self.output.say(f"webhooks may go to this machine, too (MILEPOST_WEBHOOK_ALLOW={','.join(LOCAL)})")
        with suppress(OSError):  # a terminal that has gone away is no reason to stop serving
            dev.show(described, file)
        await asyncio.Event().wait()

    async def _start_servers(self, state: State) -> Settings:
        """Start an embedded server for every URL that is not set; the settings with all of the URLs."""
        missing: list[tuple[str, Server]] = []
        if not self.settings.redis_url:
            missing.append(("redis_url", await asyncio.to_thread(valkey_server.server, state)))
        if not self.settings.database_url:
            first = not (state.path / "postgres").exists()
            self.output.say("creating the database …" if first else "starting the database …")
            missing.append(("database_url", await asyncio.to_thread(postgres_server.server, state)))
        await self.servers.start([supervise.from_server(server) for _, server in missing])
        found: dict[str, str | int] = {name: server.url for name, server in missing}
        return self.settings.model_copy(update=found | {"port": self.settings.port or ports.free()})

    async def _play(self, state: State, url: str, env: dict[str, str]) -> None:
        """The demo has the terminal; the others write to their log files meanwhile."""
        words = supervise.python(["python", "-m", "bench.demo", "--url", url])
        words += ["--data", str(self.options.data)] if self.options.data else []
        with self.output.aside(state.path / "log"):
            self.player = await asyncio.create_subprocess_exec(*words, env=env)
            code = await self.player.wait()
        said = "the demo is over" if code == 0 else f"the demo {supervise.ending(code)}"
        self.output.say(f"{said}; still serving on {url}")

    async def _stop(self) -> None:
        if self.player and self.player.returncode is None:
            self.player.terminate()
            await self.player.wait()
        await self.programs.stop()
        await self.servers.stop()

    def kill(self) -> None:
        """Everything, now."""
        if self.player and self.player.returncode is None:
            self.player.kill()
        self.programs.kill()
        self.servers.kill()


async def _until_stopped(up: _Up) -> int:
    """The first signal stops in order, exit code 0; a second Ctrl-C kills."""
    running = asyncio.ensure_future(up.run())
    loop = asyncio.get_running_loop()
    asked_at = killed_at = 0.0

    def on_signal(number: signal.Signals) -> None:
        nonlocal asked_at, killed_at
        if not asked_at:
            asked_at = loop.time()
            up.output.say("stopping …")
            running.cancel()
        elif number == signal.SIGINT and loop.time() - asked_at > ECHO_SECONDS:
            killed_at = loop.time()
            up.kill()

    hang_up = () if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else (signal.SIGHUP,)  # nohup
    for number in (signal.SIGINT, signal.SIGTERM, *hang_up):
        loop.add_signal_handler(number, on_signal, number)
    try:
        await running
    except asyncio.CancelledError:
        up.output.say("killed" if killed_at else "stopped")
    return 130 if killed_at else 0


def _allowed(settings: Settings) -> tuple[str, ...]:
    """In development a webhook may go to this machine, so that one can be tried; never in production."""
    return settings.webhook_allow or (LOCAL if settings.env == "development" else ())


def _environment(state: State, settings: Settings, described: dev.Dev) -> dict[str, str]:
    """What the programs find in their environment beside our own."""
    metrics = state.path / "metrics"
    shutil.rmtree(metrics, ignore_errors=True)
    metrics.mkdir(mode=0o700)
    return os.environ | {
        "MILEPOST_DATABASE_URL": settings.database_url,
        "MILEPOST_REDIS_URL": settings.redis_url,
        "MILEPOST_JWT_SECRET": described.jwtSecret,
        "MILEPOST_PORT": str(settings.port),
        "MILEPOST_STATE": str(state.path),
        "MILEPOST_WEBHOOK_ALLOW": ",".join(_allowed(settings)),
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        "PYTHONUNBUFFERED": "1",
    }


if __name__ == "__main__":
    app(prog_name="python -m db.up")
