"""The transaction around one batch: lock, read, apply, advance. What holds if the process dies is said at each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import asyncpg
from redis.asyncio import Redis

from db import live, log, metrics, models, sql, stream
from db.connect import Server
from db.stream import Position
from jobs.families import FAMILIES
from jobs.privacy import tombstones
from jobs.privacy.tombstones import Erased
from worker import apply, dead_letters, decoding, poison
from worker.applied import Applied
from worker.poison import KnownPoison
from worker.seen import Seen

ISOLATED: Final = 500
"""Actions of one batch that isolates, about: were all of them poison, it still fits into the time-out."""

logger = log.get("drain")
QUERIES: Final = sql.read("pipe")


@dataclass(slots=True)
class Cursor:
    """What one task remembers of its partition between batches; Postgres decides, this only saves look-ups."""

    partition: int
    count: int
    position: Position = stream.START
    generation: str = ""
    seen: Mapping[str, Seen] = field(default_factory=lambda: {family.name: Seen() for family in FAMILIES})
    """Of each family; two of them may have the same subject."""
    erased: Erased = field(default_factory=Erased)
    isolate: bool = False
    """The last try was poisoned: the next one isolates."""
    poison: KnownPoison = field(default_factory=dict)
    """What tries found that were rolled back all the same, since their time was over."""

    def forget(self) -> None:
        """Somebody else may have applied actions."""
        for seen in self.seen.values():
            seen.clear()
        self.poison.clear()

    def learn(self, done: Applied) -> None:
        """After the commit: these ids are in Postgres now."""
        for family, fresh in apply.by_family(done.fresh, [action.kind for action in done.fresh]):
            self.seen[family.name].learn(fresh, done.born.get(family.name, ()))

    def keep(self, done: Applied) -> None:
        """After step 10: until then, the next batch cleans up behind this one as if it were somebody else's."""
        self.position, self.generation = done.position, done.generation


async def run(
    conn: asyncpg.Connection, client: Redis, server: Server, cursor: Cursor, dedupe_days: int, limit: int = 1 << 30
) -> Applied | None:
    """Apply one batch of about `limit` actions; None when somebody else moves the partition.

    Raises what made it roll back.
    """
    partition = cursor.partition
    async with conn.transaction():
        # 1 lock. Dying here or at any step before 7: Postgres drops the lock and the work with the connection.
        row = await conn.fetchrow(QUERIES["lock_partition"], partition)
        if row is None:
            return None
        position, reread = Position(*row["position"]), Position(*row["reread"])
        end = position
        moved = (position, row["generation"]) != (cursor.position, cursor.generation)
        if moved:
            cursor.forget()
        # 2 read. Nothing has changed yet.
        generation, entries = await stream.read(client, partition, position, cursor.count, server)
        if await _lost(client, partition, row["generation"], generation, position, bool(entries)):
            position, reread = stream.START, max(position, reread)
            # Nothing below its newest id comes any more: with nothing left to read that is the position.
            end = await stream.last_position(client, partition)
            generation, entries = await stream.read(client, partition, position, cursor.count, server)
            await models.forget(client, partition, generation, position if entries else end, ())
            await models.forget_all(client, partition)
            await live.again(client, partition)
        elif moved:
            await _clean(conn, client, partition, generation, position)
        done = Applied(end, generation)
        decoding.decode(entries, done, ISOLATED if cursor.isolate else limit)
        if row["erased"] != cursor.erased.version:
            cursor.erased = await tombstones.load(conn, row["erased"])
        decoding.keep_out(done, cursor.erased)
        # 3 to 6. Facts, states and dead letters are in the transaction: all of them or none.
        await _apply(conn, cursor, done, dedupe_days, replay=position < reread)
        await dead_letters.bury(conn, partition, done.dead)
        # 7 advance. Dying before the COMMIT: the batch is read again. Dying behind it: it is below the position.
        if entries or row["generation"] != generation:
            await conn.execute(QUERIES["advance"], partition, generation, *done.position, *reread)
    if cursor.isolate:
        cursor.forget()
        cursor.isolate = False
    cursor.learn(done)
    return done


async def _apply(conn: asyncpg.Connection, cursor: Cursor, done: Applied, dedupe_days: int, replay: bool) -> None:
    if not done.items:
        return
    done.oldest = min([action.received_at for _, action, _ in done.items])
    since = apply.since(done.oldest, dedupe_days, datetime.now(UTC))
    try:
        if cursor.isolate:
            items = poison.drop_known(done.items, cursor.poison, done)
            if items:
                await poison.isolate(conn, items, since, replay, done, cursor.poison)
        else:
            done.take(await apply.record(conn, done.items, since, replay, None if replay else cursor.seen))
    except apply.Poisoned:
        cursor.isolate = True
        raise


async def _lost(
    client: Redis, partition: int, held: str, generation: str, position: Position, has_entries: bool
) -> bool:
    """Whether Redis may have lost or renumbered entries, so that the position can no longer be believed."""
    if held == generation and (has_entries or await stream.last_position(client, partition) >= position):
        return False
    if not held or (held == generation and position == stream.START):
        return False
    metrics.REREAD.inc()
    logger.warning("Redis restarted or lost data: reading the partition from its start", partition=partition)
    return True


async def _clean(conn: asyncpg.Connection, client: Redis, partition: int, generation: str, position: Position) -> None:
    """Somebody else moved the partition, and may have died before step 8: drop stale models, trim, tell listeners."""
    entries = await stream.applied_entries(client, partition, position)
    left = Applied(position)
    decoding.decode(entries, left)
    names: set[str] = set()
    for family in FAMILIES:
        own = [item for item in left.items if family.owns(item[1].kind)]
        names.update(await family.model_names(conn, own) if own else ())
    changed = {action.subject for _, action, _ in left.items}
    await models.forget(client, partition, generation, position, names, changed)
