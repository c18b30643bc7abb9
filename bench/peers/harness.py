"""What every peer script shares: the command line, the events, the worker process and the clock.

It runs inside the environment of the peer, so it imports nothing beyond the standard library and asyncpg.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, TypedDict

import asyncpg

Settings = dict[str, Any]

COLUMNS = (
    "id",
    "session_id",
    "event_type",
    "category",
    "element_id",
    "selection_value",
    "previous_value",
    "time_spent",
    "at",
)
# A queue that delivers at least once needs an insert that may come twice.
INSERT = (
    f"insert into peer_events ({', '.join(COLUMNS)}) values ({', '.join(f'${n + 1}' for n in range(len(COLUMNS)))})"
    " on conflict (id) do nothing"
)
INSERT_PSYCOPG = (
    f"insert into peer_events ({', '.join(COLUMNS)}) values ({', '.join(f'%({c})s' for c in COLUMNS)})"
    " on conflict (id) do nothing"
)
ENVIRONMENT = "MILEPOST_PEER"
SESSIONS = 1000
WARM_UP = 300
STOP_SECONDS = 4.0


class Event(TypedDict):
    """One event as the queue carries it: JSON types, `at` in ISO 8601."""

    id: str
    session_id: str
    event_type: str
    category: str
    element_id: str
    selection_value: str
    previous_value: str
    time_spent: int
    at: str


@dataclass(frozen=True)
class Config:
    """How this run was asked for; the worker process gets the same through its environment."""

    database_url: str
    redis_url: str
    events: int
    timeout: float
    ddl: str
    settings: Settings


@dataclass(frozen=True)
class Peer:
    """One job queue: how its worker is started and how events are enqueued."""

    name: str
    packages: tuple[str, ...]
    worker: list[str]
    enqueue: Callable[[Sequence[Event]], Awaitable[None]]
    prepare: Callable[[], Awaitable[None]] | None = None


class WorkerDiedError(Exception):
    """The peer's worker process ended before all rows had arrived."""


class TooSlowError(Exception):
    """The rows had not all arrived when the time was up."""


def configure(defaults: Settings) -> Config:
    """The configuration: from the environment in a worker, else from the command line.

    Called before the peer builds its library objects, because those need the addresses and the settings.
    """
    inherited = os.environ.get(ENVIRONMENT)
    if inherited:
        return Config(**json.loads(inherited))
    arguments = _parser(defaults).parse_args()
    chosen = defaults | {key: type(defaults[key])(value) for key, value in arguments.set}
    ddl = arguments.ddl.read_text(encoding="utf-8")
    return Config(arguments.database_url, arguments.redis_url, arguments.events, arguments.timeout, ddl, chosen)


def _parser(defaults: Settings) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure one job queue: enqueue N events, wait for N rows.")
    run = parser.add_subparsers(required=True).add_parser("run", help="one measurement, printed as one line of JSON")
    run.add_argument("--database-url", required=True)
    run.add_argument("--redis-url", required=True)
    run.add_argument("--events", type=int, required=True)
    run.add_argument("--timeout", type=float, default=60.0, help="seconds to wait for the rows (default 60)")
    run.add_argument("--ddl", type=Path, default=Path(__file__).with_name("table.sql"))
    run.add_argument("--set", type=_setting(defaults), action="append", default=[], metavar="KEY=VALUE",
                     help=f"another value for a setting, of {json.dumps(defaults)}")  # fmt: skip
    return parser


def _setting(defaults: Settings) -> Callable[[str], tuple[str, str]]:
    def setting(text: str) -> tuple[str, str]:
        key, _, value = text.partition("=")
        if key not in defaults:
            raise argparse.ArgumentTypeError(f"{key!r} is none of {', '.join(defaults)}")
        return key, value

    return setting


def events(count: int, seed: int) -> list[Event]:
    """`count` events of 1,000 sessions active at once; the same seed gives the same events."""
    chance = random.Random(seed)
    start = datetime.now(UTC)
    return [
        Event(
            id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            session_id=f"session-{chance.randrange(SESSIONS):04d}",
            event_type="interaction",
            category=chance.choice(("navigation", "selection", "form", "video")),
            element_id=f"element-{chance.randrange(200)}",
            selection_value=f"value-{chance.randrange(50)}",
            previous_value=f"value-{chance.randrange(50)}",
            time_spent=chance.randrange(120),
            at=(start + timedelta(milliseconds=number)).isoformat(),
        )
        for number in range(count)
    ]


def row(event: Event) -> tuple[Any, ...]:
    """The values of `INSERT`, in the order of `COLUMNS`."""
    return (*(event[column] for column in COLUMNS[:-1]), datetime.fromisoformat(event["at"]))  # type: ignore[literal-required]


async def keep_connection(_: Any) -> None:
    """No reset query when a connection goes back to its pool: the insert leaves nothing behind, a round trip saved."""


async def connect_pool(config: Config) -> asyncpg.Pool:
    """The worker's asyncpg pool, of `pool` connections."""
    size = config.settings["pool"]
    return await asyncpg.create_pool(config.database_url, min_size=size, max_size=size, reset=keep_connection)


async def spread(chunk: Sequence[Event], width: int, send: Callable[[Event], Awaitable[Any]]) -> None:
    """Send every event, `width` at a time: what a library without a bulk call allows."""
    rest = iter(chunk)

    async def sender() -> None:
        for event in rest:
            await send(event)

    await asyncio.gather(*(sender() for _ in range(width)))


def use_uvloop() -> None:
    """uvloop where it exists, as every one of these libraries recommends."""
    if sys.platform != "win32":
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def main(peer: Peer, config: Config) -> None:
    """Run the peer once and print its result as one line of JSON."""
    signal.signal(signal.SIGTERM, _interrupt)
    seconds, enqueuing = asyncio.run(_measure(peer, config))
    first, *others = (f"{package} {version(package)}" for package in peer.packages)
    print(
        json.dumps(
            {
                "peer": peer.name,
                "version": ", ".join([first.split()[1], *others]),
                "events": config.events,
                "seconds": round(seconds, 3),
                "rate": round(config.events / seconds, 1),
                "enqueue_seconds": round(enqueuing, 3),
                "settings": config.settings,
            }
        ),
        flush=True,
    )


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


async def _measure(peer: Peer, config: Config) -> tuple[float, float]:
    """Seconds from the first enqueue until the last of the rows is visible, and until all was enqueued."""
    connection = await asyncpg.connect(config.database_url)
    try:
        await connection.execute(config.ddl)
        if peer.prepare:
            await peer.prepare()
        with _worker(peer, config) as alive:
            before = await connection.fetchval("select count(*) from peer_events")
            # The warm-up waits for the worker's start and fills pools and statement caches on both sides.
            await peer.enqueue(events(WARM_UP, seed=1))
            await _wait(connection, before + WARM_UP, alive, config.timeout)
            measured = events(config.events, seed=2)
            started = time.perf_counter()
            enqueuing = asyncio.create_task(_timed(peer.enqueue(measured)))
            await _wait(connection, before + WARM_UP + config.events, alive, config.timeout)
            seconds = time.perf_counter() - started
            return seconds, await enqueuing
    finally:
        await connection.close()


async def _timed(enqueuing: Awaitable[None]) -> float:
    started = time.perf_counter()
    await enqueuing
    return time.perf_counter() - started


async def _wait(connection: asyncpg.Connection, rows: int, alive: Callable[[], None], timeout: float) -> None:
    """Until `rows` rows are visible; asks rarely at first and often near the end, to cost the peer nothing."""
    started = time.perf_counter()
    first = arrived = await connection.fetchval("select count(*) from peer_events")
    while arrived < rows:
        alive()
        elapsed = time.perf_counter() - started
        if elapsed > timeout:
            raise TooSlowError(f"{arrived - first} of {rows - first} rows after {timeout:.0f} s")
        left = (rows - arrived) * elapsed / max(arrived - first, 1)
        await asyncio.sleep(min(max(left / 2, 0.01), 0.25))
        arrived = await connection.fetchval("select count(*) from peer_events")


@contextmanager
def _worker(peer: Peer, config: Config) -> Iterator[Callable[[], None]]:
    """The peer's own worker in a process group of its own; yields a check that it is still alive."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, *peer.worker],
            env=os.environ | {ENVIRONMENT: json.dumps(config.__dict__)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

        def alive() -> None:
            if process.poll() is not None:
                raise WorkerDiedError(f"exit status {process.returncode}: {_tail(output)}")

        try:
            yield alive
        except TooSlowError as error:
            raise TooSlowError(f"{error}: {_tail(output)}") from error
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: asked first, killed after `STOP_SECONDS`."""
    try:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    finally:
        # Children that outlived their parent, or everything when the parent would not go.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(output: IO[bytes], size: int = 1500) -> str:
    output.seek(0, os.SEEK_END)
    output.seek(max(0, output.tell() - size))
    return output.read().decode(errors="replace").strip()
