"""The simulation of the backlog against a real run: actions come through HTTP while the drain is held up, twice.

The first pause shows how fast the worker makes up for it beside the API and the sender; from this alone the second,
longer one is predicted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple

import asyncpg

from bench import backlog, drain, load, rows, stage
from bench.backlog import Pause, Service, Span
from bench.costs import QUERIES
from bench.rows import Row
from bench.stage import Stage
from db import connect

SHARE: Final = 0.3
"""Of the rate at which one process drains: the rest is what makes up for a pause."""
SECONDS: Final = 28.0
FIRST, SECOND = Pause(3.0, 6.0), Pause(13.0, 19.0)
LOOKS: Final = 0.1
SMALL: Final = 30
"""Actions applied one after the other, to see what a batch costs by itself."""
EACH: Final = 100
"""Actions of a request."""


class Look(NamedTuple):
    """At one moment: actions that were accepted and not applied, and applied."""

    at: float
    waiting: int
    applied: int


async def measured(st: Stage) -> Row:
    """Run, calibrate on the first pause, and compare what is predicted of the second with what was seen."""
    conn: asyncpg.Connection = await connect.postgres(st.urls.database_url)
    await conn.execute(QUERIES["forget_sessions"])
    batch = await drain.alone(st, SMALL)
    rate = SHARE * await drain.rate(st, 100_000)
    await conn.execute(QUERIES["forget_sessions"])
    looks = await _looked(st, conn, rate)
    await conn.execute(QUERIES["forget_sessions"])
    await conn.close()
    service = _service(looks, rate, batch, rows.settings(st).batch_actions)
    wanted = backlog.simulated([Span(SECONDS, rate)], service, [FIRST, SECOND])
    peak = max(look.waiting for look in looks)
    caught_up = _caught_up(looks, rate, SECOND)
    held = SECOND.end - SECOND.begin
    row = Row(f"backlog after {held:.0f} s without Postgres", f"simulated, with {rate:,.0f} actions/s", "")
    row.ours, row.theirs = _told(peak, caught_up), _told(wanted.peak, wanted.caught_up)
    row.result = f"{peak / wanted.peak:.2f} of the peak"
    if caught_up is not None and wanted.caught_up is not None:
        row.result += (
            f", {(caught_up - SECOND.end) / (wanted.caught_up - SECOND.end):.2f} of the time to make up for it"
        )
    row.detail = {"service": service, "rate": rate, "simulated": wanted[:4], "seen": (peak, caught_up)}
    return row


def _told(peak: float, caught_up: float | None) -> str:
    later = "not caught up" if caught_up is None else f"caught up {caught_up - SECOND.end:.1f} s later"
    return f"{peak:,.0f} waiting, {later}"


def _service(looks: Sequence[Look], rate: float, batch: float, most: int) -> Service:
    """From the first pause: what was applied until little waited, and how long that took."""
    until = _caught_up(looks, rate, FIRST) or SECOND.begin
    behind = [look for look in looks if FIRST.end <= look.at <= until]
    top = (behind[-1].applied - behind[0].applied) / (behind[-1].at - behind[0].at)
    return Service(batch, max(1 / top - batch / most, 0.0), most)


def _caught_up(looks: Sequence[Look], rate: float, pause: Pause) -> float | None:
    little = backlog.CAUGHT_UP * rate
    return next((look.at for look in looks if look.at > pause.end and look.waiting <= little), None)


async def _looked(st: Stage, conn: asyncpg.Connection, rate: float) -> list[Look]:
    """The backlog from one look to the next, until nothing waits."""
    requests = rows.batches(st, rows.lists(200))
    accepted = 0
    looks: list[Look] = []

    def took(_body: bytes, _sent: float) -> None:
        nonlocal accepted
        accepted += EACH

    with ExitStack() as stack:
        (api, _), _ = rows.servers(st, stack)
        stack.enter_context(stage.process(st, "-m", "worker"))
        await stage.draining(st)
        begun = time.perf_counter()
        sent = load.drive(api, requests, connections=16, seconds=SECONDS, rate=rate / EACH, seen=took)
        sending = asyncio.create_task(sent)
        holding = [asyncio.create_task(_held(st, begun, pause)) for pause in (FIRST, SECOND)]
        while not sending.done() or looks[-1].waiting > 0:
            applied = await conn.fetchval(QUERIES["applied"])
            looks.append(Look(time.perf_counter() - begun, accepted - applied, applied))
            await asyncio.sleep(LOOKS)
        rows.demand(await sending, 202)
        await asyncio.gather(*holding)
    return looks


async def _held(st: Stage, begun: float, pause: Pause) -> None:
    """No batch begins in the pause, as while Postgres is away: another session has the rows that each batch locks."""
    conn: asyncpg.Connection = await connect.postgres(st.urls.database_url)
    await asyncio.sleep(begun + pause.begin - time.perf_counter())
    async with conn.transaction():
        await conn.execute("SELECT FROM partitions FOR UPDATE")
        await asyncio.sleep(begun + pause.end - time.perf_counter())
    await conn.close()
