"""The rows about usage: a quota decision that waits for its outcome, at the top rate and at half of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from bench import load, rows, stage
from bench.load import Result
from bench.rows import ROUNDS, Row
from bench.stage import Stage
from db import connect
from jobs.usage import plans
from jobs.usage.plans import Limit, Plan

USERS: Final = 2000
METER: Final = "API_CALL"
LIMIT: Final = 1_000_000_000
"""Held against, and never reached: a denial is no cheaper, and its status would be another."""
CONNECTIONS: Final = 128
AGAINST: Final = "bare aiohttp handler with one Redis INCR"
UNLIMITED: Final = {"MILEPOST_RATE_LIMIT_READ": "", "MILEPOST_RATE_LIMIT_UPDATE": ""}


@dataclass(slots=True)
class _Round:
    """Ours and theirs in turns: at the top rate, and at half of it; CPU seconds of a request at the top rate."""

    ours: Result
    theirs: Result
    cpu: tuple[float, ...]
    """Of the bare handler, of our API, of our worker."""
    half: Result
    half_of_theirs: Result


async def consumed(st: Stage) -> tuple[Row, Row]:
    """POST /v1/usage/consume: every answer is a decision, committed in Postgres."""
    await _limit(st)
    posts = [load.request("POST", "/v1/usage/consume", st.key, _body(number)) for number in range(USERS)]
    with ExitStack() as stack:
        (api, api_process), (bare, bare_process) = rows.servers(st, stack, **UNLIMITED)
        worker = stack.enter_context(stage.process(st, "-m", "worker")).pid
        await stage.draining(st)
        rows.demand(await load.drive(api, posts, count=USERS, seconds=30), 200)
        found = [await _round(st, posts, api, bare, (bare_process, api_process, worker)) for _ in range(ROUNDS)]
    return _top(found), _half(found)


async def _round(st: Stage, posts: Sequence[bytes], api: str, bare: str, processes: Sequence[int]) -> _Round:
    before = [stage.cpu(process) for process in processes]
    theirs = await load.drive(bare, posts, connections=CONNECTIONS)
    ours = await load.drive(api, posts, connections=CONNECTIONS)
    await stage.quiet(st)
    spent = [stage.cpu(process) - first for process, first in zip(processes, before, strict=True)]
    numbers = [len(theirs.latencies), len(ours.latencies), len(ours.latencies)]
    half_of_theirs = await load.drive(bare, posts, connections=CONNECTIONS, rate=theirs.rate / 2)
    half = await load.drive(api, posts, connections=CONNECTIONS, rate=ours.rate / 2)
    rows.demand(ours, 200)
    rows.demand(half, 200)
    cpu = tuple(seconds / number for seconds, number in zip(spent, numbers, strict=True))
    return _Round(ours, theirs, cpu, half, half_of_theirs)


def _top(found: Sequence[_Round]) -> Row:
    row = Row("consume, decided and waited for", AGAINST, "")
    rows.ratio_of(row, [one.ours.rate for one in found], [one.theirs.rate for one in found], "requests/s", 0)
    bare, api, worker = (statistics.median(one) * 1e6 for one in zip(*(each.cpu for each in found), strict=True))
    row.result += f" (CPU of a request: API {api:.0f} us, worker {worker:.0f} us, bare {bare:.0f} us)"
    row.reached = None
    return row


def _half(found: Sequence[_Round]) -> Row:
    row = Row("consume at half the top rate", f"{AGAINST}, at half of its own", "p95 < 50 ms")
    _waits(row, [one.half for one in found], [one.half_of_theirs for one in found])
    return row


def _waits(row: Row, ours: Sequence[Result], theirs: Sequence[Result]) -> None:
    """The medians of the rounds, and how many times longer ours takes."""
    (p50, p95), (p50_theirs, p95_theirs) = (
        [statistics.median(one.quantile(q) for one in results) for q in (0.5, 0.95)] for results in (ours, theirs)
    )
    row.ours, row.theirs = (
        f"p50 {half * 1e3:.1f} ms, p95 {most * 1e3:.1f} ms at {statistics.median(one.rate for one in results):,.0f}/s"
        for half, most, results in ((p50, p95, ours), (p50_theirs, p95_theirs, theirs))
    )
    row.result = f"p50 {p50 / p50_theirs:.1f}, p95 {p95 / p95_theirs:.1f} times as long"
    row.reached = p95 < 0.05
    row.detail = {"p50": [one.quantile(0.5) for one in ours], "p95": [one.quantile(0.95) for one in ours]}


def _body(number: int) -> bytes:
    return msgspec.json.encode({"action": METER, "userId": f"user-{number:06d}"})


async def _limit(st: Stage) -> None:
    conn = await connect.postgres(st.urls.database_url)
    try:
        async with conn.transaction():
            await plans.put(conn, "FREE", Plan(0, {METER: Limit(LIMIT)}), effective_from=datetime.now(UTC))
    finally:
        await conn.close()
