"""Sessions from their facts: the rows of the four fact tables as actions again, through the folds of the worker.

A fact keeps the session that it was given, so that a rebuild never assigns a visitor's action anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from db import sql
from jobs.action import Action
from jobs.family import Difference
from jobs.tracking import kinds, rows
from jobs.tracking import session as fold
from jobs.tracking.session import COLUMNS, IDLE, Session

QUERIES: Final = sql.read("session_facts")
SESSIONS: Final = sql.read("tracking")
PREFETCH: Final = 2000
_NULL: Final = msgspec.Raw(b"null")


def _interaction(row: asyncpg.Record) -> tuple[str, Any]:
    seen = (row["device_type"], row["viewport_width"], row["viewport_height"])
    device = None if seen == fold.NO_DEVICE else kinds.DeviceInfo(*seen)
    return "interaction.recorded", kinds.InteractionRecorded(row["event_type"], row["category"], device_info=device)


def _snapshot(row: asyncpg.Record) -> tuple[str, Any]:
    saved = kinds.ConfigurationSaved(_NULL, row["trigger_event"], row["total_price"], row["completion_percentage"])
    return "configuration.saved", saved


def _metric(row: asyncpg.Record) -> tuple[str, Any]:
    return "metric.recorded", kinds.MetricRecorded(row["metric_name"], row["value"])


def _event(row: asyncpg.Record) -> tuple[str, Any]:
    kind: str = row["kind"]
    payload = kinds.EventTracked(row["event"]) if kind == "event.tracked" else _EMPTY[kind]
    return kind, payload


_EMPTY: Final[Mapping[str, msgspec.Struct]] = {
    "page.viewed": kinds.PageViewed(),
    "user.identified": kinds.UserIdentified(),
    "session.ended": kinds.SessionEnded(),
}
_PAYLOADS: Final[Mapping[str, Callable[[asyncpg.Record], tuple[str, Any]]]] = {
    rows.INTERACTIONS: _interaction,
    rows.SNAPSHOTS: _snapshot,
    rows.METRICS: _metric,
    rows.EVENTS: _event,
}


class Sessions:
    """`user_sessions`, keyed by session id."""

    name = "user_sessions"

    async def count(self, conn: asyncpg.Connection) -> int:
        """The planner's estimate."""
        number: int = await conn.fetchval(QUERIES["count_sessions"])
        return number

    async def page(self, conn: asyncpg.Connection, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """The next sessions by id."""
        return [(row[0], row[1]) for row in await conn.fetch(QUERIES["page_sessions"], after, limit)]

    async def orphans(self, conn: asyncpg.Connection) -> AsyncIterator[tuple[str, str]]:
        """Sessions that only facts know of: one pass over all of them."""
        async for row in conn.cursor(QUERIES["orphan_sessions"], prefetch=PREFETCH):
            yield row["session_id"], row["subject"]

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, Session | None]:
        """The rows; None for a session that began to arrive before the oldest day of facts."""
        oldest: datetime | None = await conn.fetchval(QUERIES["oldest_day"])
        rows = [Session(*row) for row in await conn.fetch(SESSIONS["load_sessions"], keys)]
        return {row.session_id: None if oldest is None or row.received_at < oldest else row for row in rows}

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, Session]:
        """Fold all facts of these sessions; their order does not matter. Idle ones are ended, as the sweep does."""
        found: dict[str, Session] = {}
        for table, payload in _PAYLOADS.items():
            async for row in conn.cursor(QUERIES[table], subjects, keys, prefetch=PREFETCH):
                _fold(found, row, *payload(row))
        for session in found.values():
            if session.ended_at is None and session.last_at < now - IDLE:
                session.ended_at = session.last_at
        return found

    def differences(self, kept: Session | None, rebuilt: Session | None, now: datetime) -> Sequence[Difference]:
        """Field by field. An idle session that the sweep has not ended yet is as it should be."""
        if kept is None or rebuilt is None:
            return [("(row)", "missing" if kept is None else "there", "there" if rebuilt else "no facts")]
        found = [(name, getattr(kept, name), getattr(rebuilt, name)) for name in COLUMNS]
        found = [(name, mine, theirs) for name, mine, theirs in found if mine != theirs]
        is_unswept = kept.ended_at is None and rebuilt.last_at < now - IDLE and rebuilt.ended_at == rebuilt.last_at
        return [one for one in found if not (one[0] == "ended_at" and is_unswept)]

    async def save(self, conn: asyncpg.Connection, rows: Sequence[Session]) -> None:
        """The upsert of the worker."""
        ordered = [msgspec.structs.astuple(row) for row in sorted(rows, key=lambda row: row.session_id)]
        await conn.execute(SESSIONS["save_sessions"], *map(list, zip(*ordered, strict=True)))

    async def delete(self, conn: asyncpg.Connection, keys: Sequence[str]) -> None:
        """Sessions without any fact."""
        await conn.execute(QUERIES["delete_sessions"], keys)

    def models(self, key: str) -> Iterable[str]:
        """As `Tracking.models` names it."""
        return (f"session:{key}",)


def _fold(found: dict[str, Session], row: asyncpg.Record, kind: str, payload: Any) -> None:
    who = {"user_id": row["user_id"], "anonymous_id": row["anonymous_id"], "org_id": row["org_id"]}
    action = Action(row["id"], kind, row["subject"], row["at"], row["received_at"], row["flags"], b"", **who)
    key = row["session_id"]
    session = found.get(key)
    if session is None:
        session = found[key] = fold.opened(action, key)
    fold.touch(session, action)
    rows.FOLDS[kind][1](payload, session, action)
