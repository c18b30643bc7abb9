"""The rows about size: the drain, the rollups and every answer on a filled database, in turns with an empty one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import asyncpg

from bench import answers, costs, drain, rows, stage
from bench.costs import QUERIES
from bench.fill import shapes, whole
from bench.fill.tracking import DAYS
from bench.rows import ROUNDS, Row
from bench.stage import Stage
from db import connect, days
from db.embedded import Urls
from jobs.bar import Bar

DRAINED: Final = 100_000
NEW: Final = 1000
"""Sessions that are new to a pass, of 20 actions each; a tenth of them and ten times as many, too."""
FACTORS: Final = (0.1, 1.0, 10.0)
GOAL: Final = 0.1
"""Seconds, the p95 of every answer."""
FLAT: Final = 1.3
"""How many times as much a session may cost a pass on the filled database: measurements scatter by a fifth."""


async def measured(st: Stage, size: int) -> tuple[Row, ...]:
    """All of them, with about `size` interactions in the database; `st` is the empty one."""
    now = datetime.now(UTC)
    await _same_days(st, now)
    full = await _beside(st)
    sessions = max(size // shapes.INTERACTIONS, 1)
    with Bar(f"a fill of {sessions:,} sessions", sessions) as bar:

        def moved(done: int, words: str) -> None:
            bar.show(bar.done if done < 0 else done, words)

        await whole.fill(full.urls.database_url, sessions, now, moved)
    with Bar("the drain, the passes, the answers, the memory", 5) as bar:
        drained = await _drained(st, full, size)
        bar.show(1, drained.ours)
        passes = await _rolled(st, full, size)
        bar.show(2, passes.ours)
        answered = await _answered(full, size)
        bar.show(3, answered.ours)
        lived = await costs.of_filled(full, size)
        bar.show(4, lived.ours)
        return drained, passes, answered, lived, await drain.memory(st)


async def _same_days(st: Stage, now: datetime) -> None:
    """The empty database has the day partitions of the filled one: rows are what they differ in."""
    conn = await connect.postgres(st.urls.database_url)
    await days.make(conn, [now.date() - timedelta(days=n) for n in range(DAYS)])
    await conn.close()


async def _beside(st: Stage) -> Stage:
    """Another database on the same servers."""
    conn = await connect.postgres(st.urls.database_url)
    await conn.execute("CREATE DATABASE filled")
    await conn.close()
    database = urlsplit(st.urls.database_url)._replace(path="/filled").geturl()
    redis = urlsplit(st.urls.redis_url)._replace(path="/2").geturl()
    return await stage.prepare(Urls(database, redis))


async def _drained(empty: Stage, full: Stage, size: int) -> Row:
    """Both keep what earlier rounds left: sessions are known from the second one on, and their ids looked up."""
    row = Row(f"drain at {size:,} interactions", "the empty table", ">= 0.9")
    conn: asyncpg.Connection = await connect.postgres(empty.urls.database_url)
    await conn.execute(QUERIES["forget_sessions"])
    postmaster = costs.parent(conn.get_server_pid())
    await conn.close()
    theirs, ours = zip(
        *[(await _rate(empty, postmaster), await _rate(full, postmaster)) for _ in range(ROUNDS)], strict=True
    )
    row = rows.ratio_of(row, [one.rate for one in ours], [one.rate for one in theirs], "actions/s", 0.9)
    cpu = statistics.median([b.cpu / a.cpu for a, b in zip(ours, theirs, strict=True)])
    row.result += f" (by CPU time {cpu:.2f})"
    row.detail |= {"cpu_ratio": cpu, "ours": ours, "theirs": theirs}
    return row


class Rate(NamedTuple):
    """Actions a second, and CPU seconds of the drain and of Postgres."""

    rate: float
    cpu: float


async def _rate(st: Stage, postmaster: int) -> Rate:
    marks: list[float] = []

    def mark() -> None:
        marks.append(time.process_time() + stage.family_cpu(postmaster))

    rate = await drain.rate(st, DRAINED, begins=mark)
    mark()
    return Rate(rate, marks[1] - marks[0])


class Passes(NamedTuple):
    """What the rollups of new sessions cost: CPU seconds of this process and of its backend, and seconds in all."""

    sessions: int
    cpu: float
    seconds: float

    @property
    def each(self) -> float:
        """CPU of one session, in microseconds."""
        return 1e6 * self.cpu / self.sessions


async def _rolled(empty: Stage, full: Stage, size: int) -> Row:
    row = Row(f"a pass of the rollups, for a new session, at {size:,} interactions", "the empty table", "the same")
    found: dict[str, list[Passes]] = {"ours": [], "theirs": []}
    for part, factor in enumerate(FACTORS):
        for name, st in (("theirs", empty), ("ours", full)):
            await _roll(st)
            ids = [f"{name}-{part}-{n}" for n in range(int(NEW * factor))]
            await drain.rate(st, 20 * len(ids), iter(ids).__next__)
            found[name].append(await _roll(st))
    ours, theirs = found["ours"], found["theirs"]
    ratios = [a.each / b.each for a, b in zip(ours, theirs, strict=True)]
    row.ours, row.theirs = _each(ours), _each(theirs)
    row.result, row.reached = f"{statistics.median(ratios):.2f}", statistics.median(ratios) < FLAT
    row.detail = {"ratios": ratios, "ours": ours, "theirs": theirs}
    return row


def _each(found: Sequence[Passes]) -> str:
    return "CPU " + ", ".join(f"{one.each:,.0f}" for one in found) + " us each of " + _sizes(found)


def _sizes(found: Sequence[Passes]) -> str:
    return ", ".join(f"{one.sessions:,}" for one in found)


async def _roll(st: Stage) -> Passes:
    """Pass after pass, until nothing is left."""
    conn = await connect.postgres(st.urls.database_url)
    backend = conn.get_server_pid()
    begun, before = time.perf_counter(), time.process_time() + stage.cpu(backend)
    sessions = await costs.rolled(conn)
    spent = time.process_time() + stage.cpu(backend) - before
    await conn.close()
    return Passes(max(sessions, 1), spent, time.perf_counter() - begun)


async def _answered(st: Stage, size: int) -> Row:
    """Each answer alone, one request after the other; the slowest p95 is what counts."""
    row = Row(f"every answer at {size:,} interactions", "", "p95 < 100 ms")
    conn: asyncpg.Connection = await connect.postgres(st.urls.database_url)
    there = await answers.known(conn)
    await conn.close()
    with ExitStack() as stack:
        (api, _), _ = rows.servers(st, stack)
        found = answers.table(await answers.measure(api, st.key, there))
    found.sort(key=lambda one: -one.p95)
    late = [one for one in found if one.p95 >= 1e3 * GOAL]
    row.ours = f"{len(found) - len(late)} of {len(found)} below; p95 of the slowest {found[0].p95:.0f} ms"
    row.theirs = ""
    row.result = "; ".join(f"{one.name} {one.range} {one.p95:.0f} ms" for one in late[:5]) or f"{found[0].p95:.0f} ms"
    row.reached = not late
    row.detail = {"answers": found}
    return row
