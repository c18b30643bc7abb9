"""Checklists from their facts, through the folds of the worker. A row of this table is all that is kept of a user."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from db import sql
from jobs.action import Action
from jobs.family import Difference
from jobs.onboarding import checklist as fold
from jobs.onboarding import days, kinds
from jobs.onboarding import rows as stored
from jobs.onboarding.checklist import Checklist

QUERIES: Final = sql.read("onboarding_facts")
PREFETCH: Final = 2000
TABLES: Final = ("onboarding_actions", "onboarding_progress", "onboarding_organizations")
_payloads: Final = {kind.name: kind.decoder.decode for kind in kinds.KINDS}


class Checklists:
    """`onboarding_actions`, `onboarding_progress` and `onboarding_organizations`, keyed by user."""

    name = "onboarding"

    async def count(self, conn: asyncpg.Connection) -> int:
        """The planner's estimate of the rows, of which a user has several."""
        number: int = await conn.fetchval(QUERIES["count_checklists"])
        return number

    async def page(self, conn: asyncpg.Connection, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """The next users by id."""
        return [(row[0], row[1]) for row in await conn.fetch(QUERIES["page_checklists"], after, limit)]

    async def orphans(self, conn: asyncpg.Connection) -> AsyncIterator[tuple[str, str]]:
        """Users whom only facts know."""
        async for row in conn.cursor(QUERIES["orphan_checklists"], prefetch=PREFETCH):
            yield row["user_id"], row["subject"]

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, Checklist | None]:
        """The rows; None for a user who began to arrive before the oldest day of facts."""
        oldest: datetime | None = await conn.fetchval(QUERIES["oldest_onboarding_day"])
        found = await stored.load(conn, list(keys))
        return {user: one if _is_whole(one, oldest) else None for user, one in found.items()}

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, Checklist]:
        """Fold all facts of these users; their order does not matter."""
        found: dict[str, Checklist] = {}
        wanted = set(keys)
        async for row in conn.cursor(QUERIES["onboarding_events"], subjects, prefetch=PREFETCH):
            if row["user_id"] in wanted:
                _fold(found.setdefault(row["user_id"], Checklist(row["user_id"])), row)
        return found

    def differences(self, kept: Checklist | None, rebuilt: Checklist | None, now: datetime) -> Sequence[Difference]:
        """Field by field: `created_clip.count`."""
        if kept is None or rebuilt is None:
            return [("(row)", "missing" if kept is None else "there", "there" if rebuilt else "no facts")]
        mine, theirs = dict(_fields(kept)), dict(_fields(rebuilt))
        names = dict.fromkeys((*mine, *theirs))
        return [(name, mine.get(name), theirs.get(name)) for name in names if mine.get(name) != theirs.get(name)]

    async def save(self, conn: asyncpg.Connection, rows: Sequence[Checklist]) -> None:
        """In the place of all that is kept of these users."""
        ordered = sorted(rows, key=lambda row: row.user_id)
        users = [row.user_id for row in ordered]
        await self.delete(conn, users)
        await stored.save(conn, ordered)
        await days.note_users(conn, users)

    async def delete(self, conn: asyncpg.Connection, keys: Sequence[str]) -> None:
        """Users without any fact."""
        await days.note_users(conn, keys)
        for table in TABLES:
            await conn.execute(QUERIES[f"delete_{table}"], keys)

    def models(self, key: str) -> Iterable[str]:
        """As `Onboarding.models` names it."""
        return (stored.model_name(key),)


def _is_whole(checklist: Checklist, oldest: datetime | None) -> bool:
    first = checklist.first_received()
    return oldest is not None and first is not None and first >= oldest


def _fold(checklist: Checklist, row: asyncpg.Record) -> None:
    """What the fact says, as the worker folded it then: whether it qualified, by the catalog of that time."""
    kind, at, org_id = row["kind"], row["at"], row["org_id"]
    payload: Any = _payloads[kind](row["data"])
    action = Action(row["id"], kind, row["subject"], at, row["received_at"], row["flags"], b"", org_id=org_id)
    if kind == kinds.DONE:
        fold.do(checklist, payload.action, action)
        if row["qualifies"]:
            fold.qualify(checklist, org_id, action)
    else:
        skipped = kind == kinds.SKIPPED
        fold.close(checklist, payload.step, action, skipped=skipped, seconds=payload.time_spent_seconds)


def _fields(checklist: Checklist) -> Iterator[tuple[str, Any]]:
    for rows in (checklist.actions, checklist.steps, checklist.organizations):
        for name, row in rows.items():
            for field, value in msgspec.structs.asdict(row).items():
                yield f"{name}.{field}", value
