"""Erasing a person: first nothing of theirs is applied any more, then everything that is there goes, step by step.

Each step is a transaction of bounded size that finds what is left to do: whoever is killed runs again, and goes on.
What was removed is counted in the same transactions, so that the receipt is exact.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg
import msgspec
from redis.asyncio import Redis

from db import partitions, stream
from jobs import rebuild
from jobs.analytics import counting, metrics, rolling
from jobs.onboarding import days as onboarding_days
from jobs.privacy import letters, receipts, sessions, tombstones, traces
from jobs.privacy.sessions import number
from jobs.privacy.tombstones import QUERIES
from jobs.tracking.family import QUERIES as TRACKING

ROWS: Final = 5000
"""Rows of one transaction."""
FACTS: Final = ("course_events", "onboarding_events", "usage_records")
STATES: Final = (
    *("lookups", "usage_accounts", "usage_counters", "usage_reservations", "user_progress", "user_courses"),
    *("certificates", "onboarding_actions", "onboarding_progress", "onboarding_organizations", "flags"),
)
AGAIN_SECONDS: Final = 1.0
"""A reader that still held an old state may fill the cache behind the first drop."""
ROLL_SECONDS: Final = 600.0

Moved = Callable[[str], None]


class Unreadable(Exception):
    """What sessions counted for, maybe theirs, cannot be read and taken back; `python -m jobs rebuild` mends it."""


@dataclass(slots=True)
class Erasure:
    """One run for one person. `moved` hears what is being done."""

    conn: asyncpg.Connection
    client: Redis
    user_id: str
    dedupe_days: int
    moved: Moved = lambda _words: None
    id: UUID = field(init=False)
    partitions: int = 0

    @property
    def subject(self) -> str:
        """As actions have it."""
        return f"user:{self.user_id}"

    async def run(self, ordered: UUID | None = None) -> UUID:
        """Everything, from where an earlier run was broken off; the id of the receipt.

        Raises rebuild.Busy and Unreadable.
        """
        self.id = ordered or await receipts.order(self.conn, self.user_id)
        self.partitions = await self.conn.fetchval(partitions.QUERIES["count_partitions"])
        await self._keep_out([self.subject])
        anonymous, found = await self._find()
        await self._keep_out([f"anonymous:{one}" for one in anonymous])
        # What came under these names meanwhile: only from here on nothing more does.
        found |= (await sessions.rows(self.conn, self.user_id, anonymous)).sessions
        await self._sessions(found, anonymous)
        await self._facts()
        await self._states()
        await self._effects()
        await self._letters()
        await self._rollups(found, anonymous)
        await self._traces(found)
        await self.conn.execute(QUERIES["drop_tombstones"])
        await self.conn.execute(QUERIES["end_erasure"], self.id)
        return self.id

    @asynccontextmanager
    async def _locked(self, *chosen: int) -> AsyncIterator[None]:
        """A transaction in which no worker moves these partitions; taken in their order."""
        async with self.conn.transaction():
            for partition in sorted(chosen):
                await rebuild.hold(self.conn, partition)
            yield

    async def _count(self, removed: Mapping[str, int]) -> None:
        done = {table: rows for table, rows in removed.items() if rows}
        if done:
            await self.conn.execute(QUERIES["count_removed"], self.id, list(done), list(done.values()))

    async def _keep_out(self, names: Sequence[str]) -> None:
        """From the commit on no batch applies anything of these names: what it had applied is below the positions."""
        if not names:
            return
        every = range(self.partitions)
        async with self._locked(*every):
            await tombstones.add(self.conn, names, every)
            rows = await self.conn.fetch(partitions.QUERIES["positions"])
            held = {str(row["id"]): f"{row['position_ms']}-{row['position_seq']}" for row in rows}
            await self.conn.execute(QUERIES["set_positions"], self.id, msgspec.json.encode(held).decode())

    async def _find(self) -> tuple[list[str], dict[str, str]]:
        """Their anonymous ids, which a run that is killed leaves to the next one, and their sessions."""
        order = await self.conn.fetchrow(QUERIES["open_erasure"], await receipts.name(self.conn, self.user_id))
        anonymous = set() if order is None else set(order["anonymous_ids"])
        found: dict[str, str] = {}
        async for day in sessions.find(self.conn, self.user_id):
            found |= day.sessions
            anonymous |= day.anonymous
            self.moved(f"{len(found):,} sessions found")
        anonymous |= (await sessions.rows(self.conn, self.user_id, ())).anonymous
        own = sorted(await sessions.own(self.conn, self.user_id, anonymous))
        await self.conn.execute(QUERIES["set_anonymous_ids"], self.id, own)
        found |= (await sessions.rows(self.conn, self.user_id, own)).sessions
        return own, found

    async def _sessions(self, found: Mapping[str, str], anonymous: Sequence[str]) -> None:
        grouped: dict[int, list[tuple[str, str]]] = {}
        for session_id, subject in sorted(found.items()):
            grouped.setdefault(stream.partition_of(subject, self.partitions), []).append((session_id, subject))
        for partition, rows in sorted(grouped.items()):
            for begin in range(0, len(rows), sessions.CHUNK):
                await self._chunk(partition, dict(rows[begin : begin + sessions.CHUNK]), anonymous)
                self.moved(f"{len(rows) - begin:,} sessions of partition {partition} left")
        for day in await sessions.days(self.conn):
            async with self.conn.transaction():
                rows = await self.conn.fetch(QUERIES["erase_lone_metrics"], self.user_id, *day)
                if rows:
                    await self.conn.execute(TRACKING["note_changes"], [], metrics.noted(rows, -1).decode())
                await self._count({"performance_metrics": len(rows)})

    async def _chunk(self, partition: int, chunk: Mapping[str, str], anonymous: Sequence[str]) -> None:
        until = datetime.now(UTC) + timedelta(days=self.dedupe_days)
        async with self._locked(partition):
            whole, removed = await sessions.erase(self.conn, chunk, self.user_id, anonymous)
            # Here, too: of a shared one a run that is killed behind the commit leaves nothing to find it by.
            await rolling.take_back_aside(self.conn, sorted(chunk), datetime.now(UTC))
            names = [f"session:{one}" for one in whole]
            await tombstones.add(self.conn, names, [partition], until)
            await self._count(removed)
            # Before the commit: a run that is killed behind it does not know their names any more.
            subjects = {chunk[one] for one in whole}
            await traces.forget_sessions(self.client, partition, chunk, subjects)

    async def _facts(self) -> None:
        """All that has the user as its subject, and the name in what happened to organisations."""
        for table in FACTS:
            self.moved(table)
            gone = ROWS
            while gone == ROWS:
                async with self.conn.transaction():
                    gone = number(await self.conn.execute(QUERIES[f"erase_{table}"], self.subject, ROWS))
                    await self._count({table: gone})
        for day in await sessions.days(self.conn):
            await self.conn.execute(QUERIES["clear_referral_events"], self.user_id, *day)

    async def _states(self) -> None:
        async with self._locked(stream.partition_of(self.subject, self.partitions)):
            days = await onboarding_days.note_users(self.conn, [self.user_id])
            removed = {
                table: number(await self.conn.execute(QUERIES[f"erase_{table}"], self.subject)) for table in STATES
            }
            await self._count({table: rows for table, rows in removed.items() if table != "flags"})
        async with self.conn.transaction():
            await onboarding_days.count_now(self.conn, days)

    async def _effects(self) -> None:
        """With their deliveries, whether they were sent or wait."""
        self.moved("effects")
        while True:
            async with self.conn.transaction():
                rows = await self.conn.fetch(QUERIES["effects_to_erase"], [self.subject], self.user_id, ROWS)
                if not rows:
                    return
                keys = [row["subject"] for row in rows], [row["id"] for row in rows]
                gone = await self.conn.fetchrow(QUERIES["erase_effects"], *keys)
                await self._count(dict(gone))

    async def _letters(self) -> None:
        self.moved("dead letters")
        async with self.conn.transaction():
            erased = await tombstones.load(self.conn, 0)
            await self._count(await letters.erase(self.conn, self.user_id, erased))

    async def _rollups(self, found: Mapping[str, str], anonymous: Sequence[str]) -> None:
        """Until nothing counts for them: passes over what is noted, beside those of the schedule."""
        visitors = [self.subject, *(f"anonymous:{one}" for one in anonymous)]
        counted = [row["session_id"] for row in await self.conn.fetch(QUERIES["find_counted"], visitors)]
        if counted:
            await self.conn.execute(counting.QUERIES["look_again"], counted)
        ids = sorted({*found, *counted})
        await self._count_now(ids)
        # Whosesoever: of a shared session nothing tells a later run any more that they were in it.
        unreadable = await rolling.unreadable(self.conn)
        async with asyncio.timeout(ROLL_SECONDS):
            while await self.conn.fetchval(QUERIES["still_counted"], ids, [] if unreadable else visitors):
                self.moved("rollups")
                async with self.conn.transaction():
                    await rolling.roll(self.conn, datetime.now(UTC))
                await asyncio.sleep(0.01)
        async with self.conn.transaction():
            await rolling.drop_configurations(self.conn)
        if unreadable:
            raise Unreadable(
                f"what {unreadable} sessions counted for cannot be read, maybe theirs: python -m jobs rebuild"
            )

    async def _count_now(self, ids: Sequence[str]) -> None:
        """No pass is waited for, which would leave what is aside."""
        for begin in range(0, len(ids), rolling.SESSIONS):
            self.moved(f"rollups, {len(ids) - begin:,} sessions left")
            async with self.conn.transaction():
                some = ids[begin : begin + rolling.SESSIONS]
                await rolling.count_now(self.conn, some, datetime.now(UTC))

    async def _traces(self, found: Mapping[str, str]) -> None:
        await traces.forget(self.client, self.partitions, self.user_id)
        await asyncio.sleep(AGAIN_SECONDS)
        await traces.forget(self.client, self.partitions, self.user_id)
        for partition in range(self.partitions):
            held = [one for one, subject in found.items() if stream.partition_of(subject, self.partitions) == partition]
            await traces.forget_sessions(self.client, partition, held, ())
