"""Scenarios of the sink: Postgres away for long, and a full disk under it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.chaos import check
from bench.chaos.stage import Figures, Stage, demand, quantiles, stage, until
from db import identity, supervise
from db.state import State

DISK: Final = 320 * 2**20
"""Bytes: the data folder of a young database, its WAL, and what fills it up."""
OLDEST: Final = 0.5
"""Share of the time away that the lag in /metrics must show."""


async def postgres_away(short: bool) -> Figures:
    """Postgres is away: everything is accepted as before, the lag shows, then it drains to nothing."""
    seconds = 10.0 if short else 60.0
    async with stage() as s:
        await s.post(20)
        before = await s.post(100, size=1, pause=0.01)
        postgres = s.system.keepers["postgres"].program
        await s.system.halt("postgres")
        began, during = time.monotonic(), list[float]()
        while time.monotonic() - began < seconds:
            during += await s.post(20, size=1, pause=0.02)
        lag = await s.metric("milepost_lag_seconds", max)
        answers = dict(s.producer.answers)
        demand(set(answers) == {"202"}, f"not only 202 while Postgres was away: {answers}")
        demand(lag > OLDEST * seconds, f"/metrics shows a lag of {lag:.1f} s after {seconds:.0f} s without Postgres")
        s.system.keepers["postgres"] = supervise.Keeper(postgres, s.system.output)
        figures = await s.settled()
        await until(lambda: _no_lag(s), "the lag in /metrics goes back to 0")
        held, away = quantiles(before), quantiles(during)
        ratios = {f"{name} ratio": round(away[name] / held[name], 2) for name in held}
        return figures | {"away s": seconds, "lag s": round(lag, 1), "before ms": held, "away ms": away} | ratios


async def _no_lag(s: Stage) -> bool:
    return await s.metric("milepost_lag_seconds") == 0


def can_mount() -> bool:
    """Whether this process may mount a small disk."""
    if os.geteuid() != 0:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


@contextmanager
def small_disk() -> Iterator[list[Path]]:
    """Where disks are mounted, filled in by `_mount`. At the end they are unmounted; the folder stays after a fault."""
    mounted: list[Path] = []
    try:
        yield mounted
    finally:
        for path in mounted:
            subprocess.run(["umount", "-l", str(path)], check=False)
    for path in mounted:
        shutil.rmtree(path.parents[1], ignore_errors=True)


def _mount(state: State, mounted: list[Path]) -> None:
    """Put Postgres' data onto a disk of its own, with little WAL."""
    folder, aside = state.path / "postgres", state.path / "postgres.aside"
    with (folder / "postgresql.auto.conf").open("a") as file:
        file.write("max_wal_size = 48MB\nmin_wal_size = 32MB\nautovacuum = off\n")
    folder.rename(aside)
    folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "none", str(folder)], check=True)
    mounted.append(folder)
    identity.own(folder)
    shutil.copytree(aside, folder, dirs_exist_ok=True)
    for path in folder.rglob("*"):
        identity.own(path)
    shutil.rmtree(aside)


async def full_disk(short: bool) -> Figures:
    """Postgres' disk is full: everything is accepted, the worker tries again and says why; space again, drained."""
    if not can_mount():
        return {"SKIPPED": "a small disk can only be mounted by root"}
    with small_disk() as mounted:
        async with stage(prepare=lambda state: _mount(state, mounted)) as s:
            await s.post(20)
            await check.drained(s.system)
            ballast = mounted[0] / "ballast"
            await asyncio.to_thread(_fill, ballast)
            began = time.monotonic()
            while time.monotonic() - began < (8 if short else 30):
                await s.post(10, pause=0.05)
                await asyncio.to_thread(_fill, ballast)
            demand(set(s.producer.answers) == {"202"}, f"not only 202: {dict(s.producer.answers)}")
            async with s.system.redis() as redis:
                waiting = sum((await check.lengths(redis)).values())
            demand(waiting > 0, "the disk was full, and everything was applied: the scenario does not do its work")
            if not short:  # it cannot come back before there is space
                s.system.send("postgres", signal.SIGKILL)
                await s.post(100, pause=0.05)
            ballast.unlink()
            figures = await s.settled(seconds=120)
            said = s.system.log("worker-1")
            demand("a batch was rolled back; trying again" in said, "the worker did not say that its batches failed")
            deaths = s.system.keepers["postgres"].deaths
            return figures | {"entries waiting": waiting, "Postgres started again": deaths}


def _fill(path: Path) -> None:
    """Write until nothing more goes in."""
    with path.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError:
            return
