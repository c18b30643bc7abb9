"""Measure every peer against the same two servers: interleaved rounds, the median of each peer.

    python -m bench.peers.run --database-url … --redis-url … [--envs DIR] [--rounds 3] [--json]

The Redis database of the URL must be empty and is emptied between the runs; in Postgres everything lives in the schema
`milepost_peers`, which is dropped at the end.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
from redis.asyncio import Redis

from bench.peers import environments

PEERS = ("arq", "saq", "taskiq", "celery", "procrastinate")
ROOT = Path(__file__).parents[2]
SCHEMA = "milepost_peers"
TARGET_SECONDS = 6.0
CALIBRATION_EVENTS = 1000
RUN_SECONDS = 40.0


@dataclass
class PeerResult:
    """What one peer reached; `rate` (events/s, the median) is None and `error` says why when it never finished."""

    peer: str
    version: str = ""
    events: int = 0
    rates: list[float] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def rate(self) -> float | None:
        return statistics.median(self.rates) if self.rates else None


class NotEmptyError(Exception):
    """The peers need a Redis database of their own: it is emptied between the runs, and this one holds keys."""


class RunFailedError(Exception):
    """A peer's run ended without a result; the message is its last word."""


def default_envs() -> Path:
    return Path(os.environ.get("STATE", ".milepost")) / "peers"


async def measure(
    database_url: str, redis_url: str, envs: Path, rounds: int = 3, peers: Sequence[str] = PEERS
) -> list[PeerResult]:
    """Every peer's result, in the order of `peers`, a failing one included with its error.

    Takes about 8 seconds a peer and round; builds missing environments under `envs` first. Raises NotEmptyError.
    """
    async with Redis.from_url(redis_url) as redis:
        if await redis.dbsize():
            raise NotEmptyError(str(NotEmptyError.__doc__))
        bench = _Bench(database_url, redis_url, redis, envs)
        results = [PeerResult(peer) for peer in peers]
        # Round 0 calibrates: a short run says how many events fill TARGET_SECONDS.
        for number in range(rounds + 1):
            for result in results:
                await bench.round(result, number)
        return results


@dataclass
class _Bench:
    database_url: str
    redis_url: str
    redis: Redis
    envs: Path

    async def round(self, result: PeerResult, number: int) -> None:
        """One run of one peer on clean servers; a peer that failed once is not asked again."""
        if result.error:
            return
        try:
            python = environments.build(result.peer, self.envs)
            line = await self._clean_run(result.peer, python, result.events or CALIBRATION_EVENTS)
        except (environments.InstallFailedError, RunFailedError) as error:
            result.error = f"{type(error).__name__}: {error}"
            return
        if number == 0:
            result.version, result.settings = line["version"], line["settings"]
            result.events = max(CALIBRATION_EVENTS, round(line["rate"] * TARGET_SECONDS / 100) * 100)
        else:
            result.rates.append(line["rate"])

    async def _clean_run(self, peer: str, python: Path, events: int) -> dict[str, Any]:
        await self._clean(f"create schema {SCHEMA}")
        try:
            return await _run(peer, python, self._database(), self.redis_url, events)
        finally:
            await self._clean()

    async def _clean(self, then: str = "") -> None:
        await self.redis.flushdb()
        connection = await asyncpg.connect(self.database_url)
        try:
            await connection.execute(f"drop schema if exists {SCHEMA} cascade; {then}")
        finally:
            await connection.close()

    def _database(self) -> str:
        """The URL with the schema as search path, in the form that asyncpg and libpq both read."""
        separator = "&" if "?" in self.database_url else "?"
        return f"{self.database_url}{separator}options={quote(f'-c search_path={SCHEMA}')}"


async def _run(peer: str, python: Path, database_url: str, redis_url: str, events: int) -> dict[str, Any]:
    """One run in a process group of its own, ended whatever happens here (Ctrl-C too)."""
    command = [str(python), "-m", f"bench.peers.{peer}_peer", "run", "--events", str(events)]
    command += ["--database-url", database_url, "--redis-url", redis_url, "--timeout", str(RUN_SECONDS)]
    # Nothing of this interpreter's own (PYTHONPATH, PYTHONDEVMODE) may reach into the peer's environment.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=clean, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), RUN_SECONDS * 2)
    except TimeoutError as error:
        raise RunFailedError(f"no result after {RUN_SECONDS * 2:.0f} s") from error
    finally:
        await _stop(process)
    if process.returncode:
        raise RunFailedError(_last_lines(errors) or f"exit status {process.returncode}")
    line: dict[str, Any] = json.loads(output.splitlines()[-1])
    return line


def _last_lines(output: bytes) -> str:
    return " / ".join(output.decode(errors="replace").strip().splitlines()[-3:])


async def _stop(process: asyncio.subprocess.Process) -> None:
    """SIGTERM makes the peer end its own worker's group; it gets the time for that."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), 15)
    except TimeoutError:
        process.kill()
        await process.wait()


def table(results: Sequence[PeerResult]) -> str:
    """The results as lines of text, the fastest first, failures last with their reason."""
    ranked = sorted(results, key=lambda result: -(result.rate or 0))
    return "\n".join(
        f"{result.peer:<14}{f'{result.rate:,.0f} events/s' if result.rate else result.error:<20} "
        f"{result.version} {json.dumps(result.settings)} rounds {result.rates}"
        for result in ranked
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure one job per event with every peer.")
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--redis-url", required=True, help="a database of its own: it is emptied")
    parser.add_argument("--envs", type=Path, default=default_envs(), help="where the environments are built")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--json", action="store_true", help="a JSON list instead of a table")
    arguments = parser.parse_args()
    # SIGTERM ends the peers as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    results = asyncio.run(
        measure(arguments.database_url, arguments.redis_url, arguments.envs, arguments.rounds, arguments.peers)
    )
    if arguments.json:
        print(json.dumps([asdict(result) | {"rate": result.rate} for result in results], indent=2))
    else:
        print(table(results))
    return 1 if any(result.error for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
