"""Everything that is held of a user or an organisation, as lines of JSON: `{"table": …, "row": …}`.

The last line, `{"table": "end", "row": {"rows": …}}`, says that it is whole, and how many lines are before it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import asyncpg
from redis.asyncio import Redis

from db import keys, partitions, stream
from jobs import dead
from jobs.action import Action
from jobs.privacy import traces
from jobs.privacy.tombstones import QUERIES

PREFETCH: Final = 20
"""Rows in memory: a configuration may have 256 KiB."""
ROW_SECONDS: Final = 30.0
"""How long whoever reads may take for one row."""
END: Final = "end"
TABLES: Final = (
    *("user_sessions", "interaction_events", "configuration_snapshots", "performance_metrics", "tracked_events"),
    *("session_rollups", "visitor_hours", "onboarding_events", "onboarding_actions", "onboarding_progress"),
    *("onboarding_organizations", "course_events", "user_progress", "user_courses", "certificates"),
    *("referral_events", "referral_organizations", "referral_codes", "referrals", "referral_rewards"),
    *("usage_records", "usage_accounts", "usage_counters", "usage_reservations", "effects", "deliveries"),
)
_FACTS: Final = TABLES[1:5]
_WAITING: Final = ("dead_letters", "follow_ups")


async def lines(
    conn: asyncpg.Connection,
    client: Redis,
    user_id: str | None,
    org_id: str | None,
    row_seconds: float = ROW_SECONDS,
) -> AsyncGenerator[tuple[str, str], None]:
    """(table, line) of every row, as of one moment; what the log holds and nobody has applied yet is not among it.

    `row_seconds`: who takes longer for a row may be ended by Postgres.
    """
    number = 0
    # Its transaction is idle while all that was fetched at once is read.
    patience = f"{(PREFETCH + 1) * row_seconds * 1000:.0f}ms"
    async with aclosing(_rows(conn, client, user_id, org_id, patience)) as rows:
        async for table, line in rows:
            number += 1
            yield table, line
    yield END, json.dumps({"table": END, "row": {"rows": number}})


async def _rows(
    conn: asyncpg.Connection, client: Redis, user_id: str | None, org_id: str | None, patience: str
) -> AsyncGenerator[tuple[str, str], None]:
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        await conn.execute(QUERIES["wait_for_reader"], patience)
        own = [row[0] for row in await conn.fetch(QUERIES["sessions_to_export"], user_id)]
        for table in TABLES:
            sessions = (own,) if table in _FACTS else ()
            async for row in conn.cursor(QUERIES[f"export_{table}"], user_id, org_id, *sessions, prefetch=PREFETCH):
                yield table, f'{{"table": "{table}", "row": {row[0]}}}'
        for table in _WAITING:
            async for row in conn.cursor(QUERIES[f"all_{table}"], prefetch=PREFETCH):
                action = dead.decode(row["body"])
                if action is not None and _is_theirs(action, user_id, org_id):
                    yield table, json.dumps({"table": table, "row": dead.as_shown(action)}, default=str)
        number = await conn.fetchval(partitions.QUERIES["count_partitions"])
    async for key, body in _models(client, number, user_id, own):
        yield "read models", json.dumps({"table": "read models", "row": {"key": key, "body": body}})


def _is_theirs(action: Action, user_id: str | None, org_id: str | None) -> bool:
    if user_id is not None:
        return action.user_id == user_id or action.subject == f"user:{user_id}"
    return action.org_id == org_id or action.subject == f"org:{org_id}"


async def _models(
    client: Redis, number: int, user_id: str | None, sessions: list[str]
) -> AsyncGenerator[tuple[str, str], None]:
    if user_id is None:
        return
    held = await traces.models(client, number, user_id)
    held += [keys.model(stream.partition_of(f"session:{one}", number), f"session:{one}") for one in sessions]
    for key in held:
        body = await client.get(key)
        if body:
            yield key, body.decode()
