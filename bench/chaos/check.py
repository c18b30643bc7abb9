"""The account at the end: the ledger against Postgres, the sessions against the facts, the streams against nothing."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg
from redis.asyncio import Redis

from bench.chaos.command import command
from bench.chaos.ledger import TABLES, Body, Ledger, subject
from bench.chaos.system import PARTITIONS, System, Violation
from db import keys, sql, stream
from jobs.tracking.session import COLUMNS, Session
from jobs.tracking.states import encode

QUERIES: Final = sql.load((Path(__file__).parent / "sessions.sql").read_text())
SHOWN: Final = 10
OWN_ID: Final = 4


async def drained(system: System, seconds: float = 60) -> float:
    """Wait until every stream is empty; how long it took. Violation when that takes longer."""
    began = time.monotonic()
    left: dict[str, int] = {}
    async with system.redis() as redis:
        while time.monotonic() - began < seconds:
            left = await lengths(redis)
            if not any(left.values()):
                return time.monotonic() - began
            await asyncio.sleep(0.05)
    raise Violation(f"not drained within {seconds:g} s, entries left: {left}; logs in {system.logs}")


async def lengths(redis: Redis) -> dict[str, int]:
    """Entries in every stream."""
    pipe = redis.pipeline(transaction=False)
    for partition in range(PARTITIONS):
        pipe.xlen(keys.actions(partition))
    return {f"p{partition}": count for partition, count in enumerate(await pipe.execute())}


async def account(
    system: System, ledger: Ledger, began: datetime, *, dead: int = 0, lost: frozenset[str] = frozenset()
) -> dict[str, int]:
    """Compare everything; the figures, or Violation with the ids concerned. `lost` may be missing."""
    conn = await system.conn()
    try:
        problems = [*ledger.problems]
        rows = await conn.fetch(QUERIES["facts"])
        problems += _compare(rows, ledger, lost)
        problems += await _sessions(conn, began)
        problems += await _models(system, conn)
        buried = await conn.fetch("SELECT code, action_id, message FROM dead_letters")
        if len(buried) != dead:
            problems.append(f"{len(buried)} dead letters, not {dead}: {[tuple(row) for row in buried[:SHOWN]]}")
    finally:
        await conn.close()
    problems += await _rebuilt(system) + _ended_by_themselves(system)
    if problems:
        ledger.write(system.folder / "ledger.json")
        shown = "\n".join(problems[:30])
        raise Violation(
            f"{len(problems)} violations\n{shown}\nledger: {system.folder}/ledger.json, logs: {system.logs}"
        )
    return {
        "acknowledged": ledger.acknowledged,
        "in Postgres": len(rows) + len(ledger.learned.keys() & ledger.acked),
        "sent": len(ledger.named) + len(ledger.unnamed) + len(ledger.learned),
    }


def _compare(rows: list[asyncpg.Record], ledger: Ledger, lost: frozenset[str]) -> list[str]:
    """Every fact was sent, and looks like it; every acknowledged action is a fact; nothing is one twice."""
    problems: list[str] = []
    seen: dict[str, int] = defaultdict(int)
    for row in rows:
        own = bool(row["flags"] & OWN_ID)
        mark = row["anonymous_id"] if own else row["id"]
        body = (ledger.unnamed if own else ledger.named).get(mark)
        seen[mark] += 1
        if body is None:
            problems.append(f"never sent: {dict(row)}")
        elif difference := _difference(row, body):
            problems.append(f"not as it was sent: {difference}: {dict(row)} against {body}")
        elif own and ledger.given.get(mark, row["id"]) != row["id"]:
            problems.append(f"acknowledged as {ledger.given[mark]}, applied as {row['id']}")
    problems += _listed("applied more than once", [mark for mark, times in seen.items() if times > 1])
    missing = [
        mark
        for mark in (*(ledger.acked - ledger.learned.keys()), *ledger.given)
        if mark not in seen and mark not in lost
    ]
    return problems + _listed("acknowledged, and not in Postgres", missing)


def _listed(what: str, marks: list[str]) -> list[str]:
    return [f"{len(marks)} {what}: {', '.join(sorted(marks)[:SHOWN])}"] if marks else []


def _difference(row: asyncpg.Record, body: Body) -> str | None:
    """The first thing in which a fact differs from what was sent."""
    data = body["data"]
    what = {
        "interaction.recorded": data.get("elementId"),
        "configuration.saved": str(data.get("configuration", {}).get("n")),
        "metric.recorded": str(data.get("value")),
        "page.viewed": data.get("path"),
        "event.tracked": data.get("event"),
    }
    expected = {
        "tab": TABLES.get(body["kind"], "tracked_events"),
        "user_id": body.get("userId"),
        "anonymous_id": body.get("anonymousId"),
        "org_id": body.get("orgId"),
        "at": datetime.fromisoformat(body["at"]),
        "what": what.get(body["kind"]),
    }
    if (whose := subject(body)) is not None:
        expected["subject"] = whose
    if "sessionId" in body:
        expected["session_id"] = body["sessionId"]
    return next((name for name, value in expected.items() if row[name] != value), None)


async def _sessions(conn: asyncpg.Connection, began: datetime) -> list[str]:
    rows = await conn.fetch(QUERIES["sessions"])
    problems = [f"session {row['session_id']}: expected {row['expected']}, held {row['held']}" for row in rows[:SHOWN]]
    split = await conn.fetch(QUERIES["visits"], began - timedelta(hours=1))
    return problems + [f"one visit, several sessions: {dict(row)}" for row in split[:SHOWN]]


async def _rebuilt(system: System) -> list[str]:
    """`python -m jobs rebuild --check` agrees, too."""
    code, said = await command(system, "jobs", "rebuild", "--check")
    return [f"jobs rebuild --check: {said[-600:]}"] if code else []


async def _models(system: System, conn: asyncpg.Connection) -> list[str]:
    """What Redis keeps for reads is what Postgres says, and as far."""
    rows = await conn.fetch(f"SELECT {', '.join(COLUMNS)} FROM user_sessions")
    positions = await conn.fetch("SELECT id, position_ms, position_seq FROM partitions ORDER BY id")
    async with system.redis() as redis:
        names = [keys.model(stream.partition_of(row["subject"], PARTITIONS), f"session:{row[0]}") for row in rows]
        held = await redis.mget(names) if names else []
        applied = await stream.applied(redis, range(PARTITIONS))
    stale = [row[0] for row, body in zip(rows, held, strict=True) if body and body != encode(Session(*row))]
    behind = [
        f"p{row[0]}: Redis {held}, Postgres {row[1]}-{row[2]}"
        for row, held in zip(positions, applied, strict=True)
        if stream.START < held != (row[1], row[2])
    ]
    return _listed("stale read models", stale) + _listed("applied positions differ", behind)


def _ended_by_themselves(system: System) -> list[str]:
    """Nothing but a signal ends an API or a worker."""
    lines = system.log("supervisor").splitlines()
    return [
        f"{line}: see its log"
        for line in lines
        if " ended (exit code " in line and "(exit code 0)" not in line and ("api" in line or "worker" in line)
    ]
