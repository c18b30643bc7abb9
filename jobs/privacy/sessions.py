"""The sessions of a person: gone where they were alone, folded anew from what is left where they were not."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final, NamedTuple

import asyncpg

from jobs.analytics import metrics
from jobs.privacy.tombstones import QUERIES
from jobs.tracking.facts import Sessions
from jobs.tracking.family import QUERIES as TRACKING

CHUNK: Final = 100
"""Sessions of one transaction."""
TABLES: Final = ("interaction_events", "configuration_snapshots", "tracked_events")


class Found(NamedTuple):
    """Where a person was seen: session id -> its subject; and the anonymous ids beside their user id."""

    sessions: dict[str, str]
    anonymous: set[str]


async def days(conn: asyncpg.Connection) -> list[tuple[datetime, datetime]]:
    """The days of arrival whose facts are kept, oldest first: begin and end."""
    starts = [datetime.combine(row["day"], time(), UTC) for row in await conn.fetch(QUERIES["fact_days"])]
    return [(start, start + timedelta(days=1)) for start in starts]


async def find(conn: asyncpg.Connection, user_id: str) -> AsyncIterator[Found]:
    """What each day of facts knows of a user; one query each, without a lock."""
    for day in await days(conn):
        found = Found({}, set())
        for row in await conn.fetch(QUERIES["find_facts"], user_id, *day):
            if row["session_id"] is not None:
                found.sessions[row["session_id"]] = row["subject"]
            if row["anonymous_id"] is not None:
                found.anonymous.add(row["anonymous_id"])
        yield found


async def rows(conn: asyncpg.Connection, user_id: str, anonymous: Iterable[str]) -> Found:
    """What the sessions' own rows know."""
    found = Found({}, set())
    for row in await conn.fetch(QUERIES["find_session_rows"], user_id, sorted(anonymous)):
        found.sessions[row["session_id"]] = row["subject"]
        if row["anonymous_id"] is not None:
            found.anonymous.add(row["anonymous_id"])
    return found


async def own(conn: asyncpg.Connection, user_id: str, anonymous: Iterable[str]) -> set[str]:
    """The anonymous ids that nobody else was seen with."""
    seen = set(anonymous)
    rows = await conn.fetch(QUERIES["others_of_anonymous"], user_id, sorted(seen))
    return seen - {row["anonymous_id"] for row in rows}


async def erase(
    conn: asyncpg.Connection, chunk: Mapping[str, str], user_id: str, anonymous: Sequence[str]
) -> tuple[list[str], Counter[str]]:
    """Remove them from these sessions of one partition, which the caller has locked.

    The sessions that are gone as a whole, and how many rows of each table went. What the rollups have counted is taken
    back by their next pass.
    """
    ids, subjects = list(chunk), sorted(set(chunk.values()))
    shared = {row[0] for row in await conn.fetch(QUERIES["shared_sessions"], user_id, subjects, ids, anonymous)}
    whole = [one for one in ids if one not in shared]
    removed: Counter[str] = Counter()
    kept = await Sessions().kept(conn, sorted(shared))
    asked = (subjects, ids, whole, user_id, anonymous)
    for table in TABLES:
        removed[table] += number(await conn.execute(QUERIES[f"erase_{table}"], *asked))
    rows = await conn.fetch(QUERIES["erase_performance_metrics"], *asked)
    removed["performance_metrics"] += len(rows)
    removed["user_sessions"] += number(await conn.execute(QUERIES["erase_user_sessions"], whole))
    await _fold_again(conn, {one: chunk[one] for one in sorted(shared)}, kept, user_id)
    await conn.execute(TRACKING["note_changes"], sorted(ids), metrics.noted(rows, -1).decode() if rows else None)
    return whole, removed


async def _fold_again(
    conn: asyncpg.Connection, shared: Mapping[str, str], kept: Mapping[str, object], user_id: str
) -> None:
    """As `rebuild` does; of a session whose facts retention has dropped only the name goes."""
    whole = [key for key in shared if kept.get(key) is not None or key not in kept]
    old = [key for key in shared if key in kept and kept[key] is None]
    table = Sessions()
    subjects = sorted({shared[key] for key in whole})
    rebuilt = await table.rebuilt(conn, whole, subjects, datetime.now(UTC)) if whole else {}
    if rebuilt:
        await table.save(conn, list(rebuilt.values()))
    await table.delete(conn, [key for key in whole if key not in rebuilt])
    await conn.execute(QUERIES["clear_user_sessions"], old, user_id)


def number(status: str) -> int:
    """The rows that a statement says it touched."""
    return int(status.rpartition(" ")[2])
