"""`python -m jobs status`: the pipe on one screen, read from Redis and Postgres, either of which may be away."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from db import command, connect, keys, partitions, sql, stream
from db.settings import Settings

PIPE: Final = sql.read("pipe")
STATUS: Final = sql.read("status")
DELIVERIES: Final = sql.read("deliveries")
DEAD_AFTER: Final = 15.0
"""Seconds without a heartbeat after which a worker counts as dead."""
LAG_LIMIT: Final = 60.0
LATE: Final = timedelta(minutes=15)
OVERDUE: Final = timedelta(minutes=15)
"""The longest run of a scheduled job takes less."""
NAMED: Final = 3
"""Sessions that are named for each reason why they are aside."""


class Partition(msgspec.Struct, rename="camel"):
    """One partition: what waits in Redis, and how far Postgres is. None: not known.

    `rate`: actions that the workers alive applied of it, a second, over the last minute.
    """

    id: int
    backlog_entries: int | None = None
    backlog_bytes: int | None = None
    lag_seconds: float | None = None
    rate: float | None = None
    position: str | None = None
    applied_at: datetime | None = None


class Worker(msgspec.Struct, rename="camel"):
    """One worker process by its heartbeat; `rate`: actions a second over the last minute."""

    name: str
    alive: bool
    beat_seconds: float
    applied: int
    rate: float
    failure: str | None = None


class Schedule(msgspec.Struct, rename="camel"):
    """One scheduled job: when it last ran, for how long and how, and when it runs next. None: never yet, not known."""

    name: str
    at: datetime | None
    seconds: float | None
    result: str | None
    failed: bool
    next_at: datetime | None


class Dead(msgspec.Struct, rename="camel"):
    """Open dead letters of one code."""

    code: str
    number: int
    newest: datetime


class Waiting(msgspec.Struct, rename="camel"):
    """Deliveries of effects to one sort of destination that wait, or are dead."""

    sort: str
    status: str
    number: int
    oldest_seconds: float


class Aside(msgspec.Struct, rename="camel"):
    """Sessions that analytics could not count for one reason; `first`: some of them, the oldest first."""

    reason: str
    number: int
    since: datetime
    due_at: datetime
    first: list[str]


class Size(msgspec.Struct, rename="camel"):
    """One table with all its days; the rows are the planner's estimate."""

    name: str
    days: int
    rows: int
    size: str


class Status(msgspec.Struct, rename="camel"):
    """All that is known; `problems` make the exit code 1, `warnings` do not."""

    at: datetime
    redis: str
    postgres: str
    partitions: list[Partition] = []
    workers: list[Worker] = []
    schedules: list[Schedule] = []
    dead_letters: list[Dead] = []
    deliveries: list[Waiting] = []
    sessions_aside: list[Aside] = []
    late_erasures: int = 0
    """Ordered more than `LATE` ago and not done."""
    tables: list[Size] = []
    problems: list[str] = []
    warnings: list[str] = []


async def read(settings: Settings) -> Status:
    """Ask both, on connections of its own."""
    return await ask(settings, _connected(settings.database_url), connect.redis(settings.log_url))


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await connect.postgres(url, "milepost-status", timeout=5)
    try:
        yield conn
    finally:
        await conn.close(timeout=5)


async def ask(
    settings: Settings,
    postgres: AbstractAsyncContextManager[asyncpg.Connection],
    redis: AbstractAsyncContextManager[Redis],
) -> Status:
    """Ask both; what does not answer becomes a problem."""
    status = Status(datetime.now(UTC), "ok", "ok")
    held: dict[int, Partition] = {}
    status.postgres = await _tried("Postgres", settings.database_url, _from_postgres(postgres, status, held), status)
    status.redis = await _tried("Redis", settings.log_url, _from_redis(redis, status, held), status)
    status.partitions = [held[number] for number in sorted(held)]
    _judge(status, settings)
    return status


async def _tried(name: str, url: str, asking: Awaitable[None], status: Status) -> str:
    try:
        await asking
    except (asyncpg.PostgresError, asyncpg.InterfaceError, RedisError, OSError, ValueError) as error:
        status.problems.append(f"{name} at {command.place(url)}: {command.explain(error)}")
        return "away"
    return "ok"


async def _from_postgres(
    postgres: AbstractAsyncContextManager[asyncpg.Connection], status: Status, held: dict[int, Partition]
) -> None:
    async with postgres as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        for row in await conn.fetch(partitions.QUERIES["positions"]):
            position = f"{row['position_ms']}-{row['position_seq']}"
            held[row["id"]] = Partition(row["id"], position=position, applied_at=row["applied_at"])
        letters = await conn.fetch(PIPE["dead_letter_codes"])
        status.dead_letters = [Dead(row["code"], row["number"], row["newest"]) for row in letters]
        waiting = await conn.fetch(DELIVERIES["count_deliveries"])
        status.deliveries = [Waiting(*row) for row in waiting]
        status.sessions_aside = [Aside(*row) for row in await conn.fetch(STATUS["sessions_aside"], NAMED)]
        status.late_erasures = await conn.fetchval(STATUS["late_erasures"], LATE)
        tables = await conn.fetch(STATUS["tables"])
        status.tables = [Size(row["name"], row["days"], row["rows"], row["size"]) for row in tables]


async def _from_redis(redis: AbstractAsyncContextManager[Redis], status: Status, held: dict[int, Partition]) -> None:
    async with redis as client:
        await client.ping()
        number = len(held) or int(await client.get(keys.PARTITIONS) or 0)
        await _backlog(client, number, held)
        beats = await _hash(client, keys.WORKERS)
        told = {name.decode(): msgspec.json.decode(beat) for name, beat in sorted(beats.items())}
        status.workers = [worker(name, beat) for name, beat in told.items()]
        _rates(held, [told[one.name] for one in status.workers if one.alive])
        ran, due = await _hash(client, keys.SCHEDULES), await _hash(client, keys.SCHEDULES_DUE)
        status.schedules = [_schedule(name.decode(), ran.get(name), due.get(name)) for name in sorted({*ran, *due})]


async def _hash(client: Redis, key: str) -> dict[bytes, bytes]:
    asked: Any = client.hgetall(key)  # the client's types do not know that this one is async
    found: dict[bytes, bytes] = await asked
    return found


async def _backlog(client: Redis, number: int, held: dict[int, Partition]) -> None:
    """Entries above the applied position count; those below it are applied and only wait for their trim."""
    pipe = client.pipeline(transaction=False)
    for partition in range(number):
        pipe.xlen(keys.actions(partition))
    entries = await pipe.execute()
    sizes, lags = await stream.size(client, number), await stream.lags(client, number)
    for partition in range(number):
        found = held.setdefault(partition, Partition(partition))
        found.backlog_entries, found.backlog_bytes = entries[partition], sizes[partition]
        found.lag_seconds = round(lags[partition], 3)


def worker(name: str, beat: dict[str, Any]) -> Worker:
    """One worker process, by its last heartbeat."""
    age = max(0.0, time.time() - beat["at"])
    rate = sum(_recent(beat).values())
    return Worker(name, age < DEAD_AFTER, round(age, 1), beat["applied"], round(rate, 1), beat["failure"])


def _recent(beat: dict[str, Any]) -> dict[str, float]:
    """By partition; a worker of an older version does not tell."""
    found: dict[str, float] = beat.get("rates", {})
    return found


def _rates(held: dict[int, Partition], beats: list[dict[str, Any]]) -> None:
    """A partition that moved to another worker within the minute has a part of its rate from each."""
    for number, one in held.items():
        if beats:
            one.rate = round(sum(_recent(beat).get(str(number), 0.0) for beat in beats), 1)


def _schedule(name: str, run: bytes | None, due: bytes | None) -> Schedule:
    next_at = None if due is None else datetime.fromtimestamp(float(due), UTC)
    if run is None:
        return Schedule(name, None, None, None, False, next_at)
    ran = msgspec.json.decode(run)
    at = datetime.fromtimestamp(ran["at"], UTC)
    return Schedule(name, at, ran["seconds"], ran["result"], ran["failed"], next_at)


def _judge(status: Status, settings: Settings) -> None:
    problems, warnings = status.problems, status.warnings
    if status.postgres == "ok" and not status.partitions:
        problems.append("no partitions: nothing was started on this database yet")
    if status.redis == "ok":
        if not any(worker.alive for worker in status.workers):
            problems.append("no worker is alive: nothing is applied")
        problems += [f"worker {one.name} fails: {one.failure}" for one in status.workers if one.alive and one.failure]
        warnings += [
            f"worker {one.name} is gone, since {one.beat_seconds:.0f} s" for one in status.workers if not one.alive
        ]
    for one in status.partitions:
        if (one.lag_seconds or 0) > LAG_LIMIT:
            problems.append(f"partition {one.id} lags {one.lag_seconds:.0f} s behind")
    used = sum(one.backlog_bytes or 0 for one in status.partitions) / settings.backlog_limit
    if used > 0.5:
        (problems if used >= 1 else warnings).append(f"the backlog has reached {used:.0%} of MILEPOST_BACKLOG_LIMIT")
    warnings += [f"the scheduled job {one.name} failed: {one.result}" for one in status.schedules if one.failed]
    if any(worker.alive for worker in status.workers):
        late = [one for one in status.schedules if one.next_at and status.at - one.next_at > OVERDUE]
        warnings += [f"the scheduled job {one.name} should have run {ago(one.next_at, status.at)}" for one in late]
    warnings += _left_over(status)


def _left_over(status: Status) -> Iterator[str]:
    """What waits for somebody."""
    if letters := sum(one.number for one in status.dead_letters):
        yield f"{letters:,} dead letter{'s' if letters > 1 else ''}: python -m jobs dead list"
    if late := status.late_erasures:
        minutes = f"{LATE.total_seconds() / 60:.0f} min"
        yield f"{late:,} erasure{'s' if late > 1 else ''} not done after {minutes}: GET /v1/admin/erasures"
    if dead := sum(one.number for one in status.deliveries if one.status == "dead"):
        yield f"{dead:,} dead deliver{'ies' if dead > 1 else 'y'}: python -m jobs effects list --status dead"
    if aside := sum(one.number for one in status.sessions_aside):
        yield f"analytics cannot count {aside:,} session{'s' if aside > 1 else ''}: python -m jobs rebuild"


def ago(at: datetime | None, now: datetime) -> str:
    """In one unit, the largest that fits: `20 min ago`."""
    return "never" if at is None else f"{span(now - at)} ago"


def span(time: timedelta) -> str:
    """Seconds, minutes, hours, or from two days on days."""
    seconds = max(0, int(time.total_seconds()))
    hours, minutes = seconds // 3600, seconds // 60
    return (
        f"{hours // 24} d" if hours > 48 else f"{hours} h" if hours else f"{minutes} min" if minutes else f"{seconds} s"
    )
