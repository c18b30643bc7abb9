"""Scenarios of the start: settings that can never be right, and everything killed at once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from bench.chaos import check
from bench.chaos.command import command
from bench.chaos.crowd import Crowd
from bench.chaos.ledger import Ledger
from bench.chaos.producer import Producer
from bench.chaos.stage import Figures, Stage, demand, stage
from bench.chaos.system import PARTITIONS, ROOT, System, Violation
from db import identity, ports
from db.state import State

UP: Final = 60.0


async def wrong_settings(short: bool) -> Figures:
    """An evicting Redis, another count of partitions: API and worker refuse with one line and an exit code."""
    del short
    async with stage() as s:
        said: Figures = {}
        for role in ("api", "worker"):
            await s.redis.config_set("maxmemory-policy", "allkeys-lru")
            said[f"{role}, evicting"] = await _refuses(s, role, {}, "noeviction")
            await s.redis.config_set("maxmemory-policy", "noeviction")
            wrong = {"MILEPOST_PARTITIONS": str(PARTITIONS + 1)}
            said[f"{role}, partitions"] = await _refuses(s, role, wrong, "MILEPOST_PARTITIONS")
        await s.post(5)
        return said | await s.settled()


async def _refuses(s: Stage, role: str, wrong: dict[str, str], word: str) -> str:
    settings = {"MILEPOST_PORT": str(ports.free()), "MILEPOST_LOG_FORMAT": "json"} | wrong
    code, said = await command(s.system, role, env=settings)
    lines = [line for line in said.splitlines() if line.strip()]
    demand(code != 0, f"{role} started with {wrong or 'an evicting Redis'}")
    demand(len(lines) == 1 and word in lines[0], f"{role} did not say it in one line: {said}")
    return f"exit {code}: {lines[0]}"


class Up(System):
    """`python -m db.up` as one process with its children, of which nothing is ours to supervise."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        super().__init__(apis=0, workers=0)
        self.port = ports.free()
        self.process: subprocess.Popen[bytes] | None = None

    async def _start(self) -> None:
        """Start it, and read where everything is."""
        path = self.folder / "state"
        self.process = self._launch(path)
        if not await ports.answers(f"http://127.0.0.1:{self.port}/readyz", UP):
            raise Violation(f"db.up does not serve within {UP:.0f} s: see {self.folder}/up.log")
        dev = json.loads((path / "dev.json").read_text())
        self.key, self.redis_url, self.database_url = dev["serviceKey"], dev["redisUrl"], dev["databaseUrl"]
        self.state = State(path)

    def _launch(self, state: Path) -> subprocess.Popen[bytes]:
        plain = {key: value for key, value in os.environ.items() if not key.startswith("MILEPOST_")}
        words = (sys.executable, "-m", "db.up", "--port", str(self.port), "--state", str(state))
        with (self.folder / "up.log").open("ab") as log:
            return subprocess.Popen(
                [*identity.until_parent_ends(signal.SIGTERM), *words],
                cwd=ROOT,
                env=plain | {"MILEPOST_PARTITIONS": str(PARTITIONS)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def _stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            await asyncio.to_thread(self.process.wait, UP)

    @property
    def urls(self) -> list[str]:
        """The one address."""
        return [f"http://127.0.0.1:{self.port}"]

    def kill_everything(self) -> int:
        """kill -9 of the supervisor and of all that it started; how many processes that were."""
        assert self.process is not None
        family = _family(self.process.pid)
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        return len(family)


def _family(pid: int) -> list[int]:
    """A process and all that descend from it, itself first."""
    found = [pid]
    for parent in found:
        try:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += [int(child) for child in children]
    return found


async def kill_everything(short: bool) -> Figures:
    """kill -9 of everything, the supervisor included, under load; started again, nothing is missing or doubled."""
    async with Up() as system:
        crowd, ledger = Crowd(int(time.time())), Ledger()
        back: list[float] = []
        killed = 0
        async with Producer(system.urls, system.key, crowd, ledger, 60) as producer:
            for _ in range(1 if short else 3):
                await asyncio.sleep(2)
                killed += system.kill_everything()
                began = time.monotonic()
                await system._start()  # noqa: SLF001
                back.append(round(time.monotonic() - began, 2))
            await producer.finish()
            drained = await check.drained(system)
        figures = await check.account(system, ledger, crowd.began)
        return figures | {"processes killed": killed, "ready again after s": back, "drained after": round(drained, 2)}
