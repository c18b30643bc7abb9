"""The drain of one worker process: one task for each partition, blocked on its stream."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Final

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from db import connect, days, ending, live, log, metrics, models, stream
from db.connect import Server
from db.settings import Settings
from worker import apply, batch, replies
from worker.applied import Applied
from worker.batch import Cursor
from worker.dead_letters import DeadLetter
from worker.follow_ups import FollowUps
from worker.outbox import Outbox

logger = log.get("drain")

BLOCK_MS: Final = 2000
CONTENDED: Final = (0.05, 0.15)
"""Seconds to leave a partition to whoever moves it: a dead holder is followed within this time."""
STALLED: Final = 15.0
"""Seconds of an unmoved lock after which copies that wait for a dead peer are ended."""
PATIENCE: Final = 2.0
"""Longest pause after failures, in seconds."""
MAX_ENTRIES: Final = 2000


class Drain:
    """Applies every partition that nobody else is applying, until it is cancelled."""

    def __init__(
        self,
        settings: Settings,
        pool: asyncpg.Pool,
        client: Redis,
        server: Server,
        follow_ups: FollowUps | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        """Without `follow_ups` and `outbox`, what goes on from here is left to the sweeps of another process."""
        self.settings, self.pool, self.client, self.server = settings, pool, client, server
        self.follow_ups, self.outbox = follow_ups, outbox
        self.moved: Counter[int] = Counter()
        """Partition -> actions applied by this process since its start, for the heartbeat."""
        self.failures: dict[int, str] = {}
        """Partition -> what its last try failed with; empty when all goes well."""

    @property
    def applied(self) -> int:
        """Actions applied by this process since its start."""
        return self.moved.total()

    @property
    def failure(self) -> str | None:
        """Why a partition is not moving, for the heartbeat."""
        return next(iter(self.failures.values()), None)

    async def run(self) -> None:
        """Run until cancelled; a batch under way is rolled back and comes again."""
        async with asyncio.TaskGroup() as tasks:
            for partition in range(self.settings.partitions):
                tasks.create_task(self._partition(partition), name=f"drain-{partition}")

    async def _partition(self, partition: int) -> None:
        cursor = Cursor(partition, count=64)
        contended_since: float | None = None
        failures = 0
        # asyncpg's rollback may fail while it is being cancelled, and its error then stands in the place of the cancel.
        while not ending.asked():
            try:
                done = await self._daily(cursor)
                failures = 0
                self.failures.pop(partition, None)
                if done is None:
                    contended_since = await self._contended(contended_since or time.monotonic())
                    continue
                contended_since = None
                if not done.entries and not ending.asked():
                    await stream.wait(self.client, partition, cursor.position, BLOCK_MS)
            except apply.Poisoned as error:
                logger.warning("a batch holds a poison action: isolating it", partition=partition, error=str(error))
            except (
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,
                RedisError,
                OSError,
                TimeoutError,
            ) as error:
                failures += 1
                # A batch that never fits into the time-out would come again for ever.
                cursor.count = max(1, cursor.count // 2)
                await self._failed(partition, error, failures)
            except Exception:
                failures += 1
                logger.exception("the drain met a fault of its own; trying again", partition=partition)
                await asyncio.sleep(_pause(failures))

    async def _daily(self, cursor: Cursor) -> Applied | None:
        """A batch; when its day is missing, the day and then the batch."""
        try:
            return await self._batch(cursor)
        except apply.NoDay as error:
            await self._days(error.days)
            return await self._batch(cursor)

    async def _batch(self, cursor: Cursor) -> Applied | None:
        started = time.perf_counter()
        settings = self.settings
        async with asyncio.timeout(settings.apply_timeout):
            conn = await self.pool.acquire()
            try:
                done = await batch.run(
                    conn, self.client, self.server, cursor, settings.dedupe_days, settings.batch_actions
                )
            except BaseException:
                # Whatever went wrong, this connection must not hold the partition a moment longer.
                conn.terminate()
                raise
            finally:
                await self.pool.release(conn)
        if done is None:
            return None
        if done.entries:
            self._count(cursor.partition, done, time.perf_counter() - started)
            self._adapt(cursor, done)
            await self._publish(cursor.partition, done)
            self._go_on(done)
        cursor.keep(done)
        return done

    async def _publish(self, partition: int, done: Applied) -> None:
        """8 to 10. Dying before or in it: the next who takes the partition drops caches, tells listeners, trims."""
        subjects = {subject for subject, _, _ in done.live}
        heard = await live.listened(self.client, partition, subjects)
        snapshots = [(subject, event, body()) for subject, event, body in done.live if subject in heard]
        told = (dict(done.models), replies.messages(done), snapshots, subjects - heard)
        await models.publish(self.client, partition, done.generation, done.position, *told)

    def _go_on(self, done: Applied) -> None:
        """11: what goes on from here. All of it is in Postgres, and swept when this process dies."""
        if done.follow_ups and self.follow_ups is not None:
            self.follow_ups.put(done.follow_ups)
        if done.deliveries and self.outbox is not None:
            self.outbox.put(done.deliveries)

    def _adapt(self, cursor: Cursor, done: Applied) -> None:
        """Read as many entries as hold about `batch_actions`, whatever their size."""
        each = max(1.0, len(done.items) / done.entries)
        wanted = int(self.settings.batch_actions / each)
        cursor.count = max(1, min(MAX_ENTRIES if each < 4 else wanted, wanted, cursor.count * 4))

    def _count(self, partition: int, done: Applied, seconds: float) -> None:
        self.moved[partition] += len(done.fresh)
        metrics.APPLY.observe(seconds)
        metrics.BATCH.observe(len(done.items))
        for actions, counter in ((done.fresh, metrics.APPLIED), (done.duplicates, metrics.DUPLICATES)):
            for kind, number in Counter([action.kind for action in actions]).items():
                counter.labels(kind).inc(number)
        metrics.ERASED.inc(done.erased)
        if done.oldest is not None:
            metrics.FRESHNESS.observe(max(0.0, (datetime.now(UTC) - done.oldest).total_seconds()))
        for effect in done.effects:
            metrics.EFFECTS.labels(effect.type).inc()
        # One line for all of a batch that are alike: a client can send bad actions by the thousand.
        alike: dict[tuple[str, str], list[DeadLetter]] = defaultdict(list)
        for letter in done.dead:
            metrics.DEAD.labels(letter.code).inc()
            alike[letter.code, letter.kind].append(letter)
        for (code, kind), letters in alike.items():
            said = {"code": code, "kind": kind, "action": letters[0].action_id, "reason": letters[0].message}
            logger.error("actions went to the dead letters", number=len(letters), **said)

    async def _contended(self, since: float) -> float:
        if time.monotonic() - since > STALLED:
            ended = await self.pool.fetch(batch.QUERIES["end_stalled_copies"], STALLED)
            if ended:
                logger.warning("ended connections of a vanished peer that held a partition", number=len(ended))
            return time.monotonic()
        await asyncio.sleep(random.uniform(*CONTENDED))
        return since

    async def _days(self, missing: Iterable[date]) -> None:
        async with self.pool.acquire() as conn:
            await days.make(conn, missing)

    async def _failed(self, partition: int, error: Exception, failures: int) -> None:
        reason = type(error).__name__
        metrics.APPLY_FAILED.labels(reason).inc()
        if self.failures.get(partition) != reason:
            said = {"partition": partition, "reason": reason, "error": str(error)}
            logger.warning("a batch was rolled back; trying again", **said)
        self.failures[partition] = reason
        await asyncio.sleep(_pause(failures))


def _pause(failures: int) -> float:
    return min(PATIENCE, 0.05 * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1)


async def pool(settings: Settings) -> asyncpg.Pool:
    """The drain's own connections, named so that a stalled one can be found."""
    return await connect.pool(settings, "milepost-drain", settings.drain_connections)
