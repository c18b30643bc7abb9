"""Read models in Redis: written after a commit, filled by reads that miss, dropped when they may be old."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from db import cluster, keys, live
from db.stream import Position, sortable

# Caches move with the position only: a worker that slept between its commit and here must not undo a newer one.
# And nothing is touched in another Redis than was read, where entries below the position may be new. The trim comes
# first, so that a Redis that is full takes the rest.
_GUARDED: Final = """
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
if (redis.call('GET', KEYS[2]) or '') .. '/' .. run ~= ARGV[3] then return -1 end
redis.call('XTRIM', KEYS[3], 'MINID', ARGV[4])
"""
# Who began to listen since the worker looked may have read models of before: asked once more, with the change itself,
# so that no death in between and no listener in between leaves anybody with an old state.
_AGAIN: Final = f"""
local asked, heard = tonumber(ARGV[6]), {{}}
if asked > 0 and redis.call('EXISTS', KEYS[4]) == 1 then
  for i = 1, asked do
    if tonumber(redis.call('ZSCORE', KEYS[4], ARGV[6 + i]) or 0) > tonumber(ARGV[5]) then
      redis.call('XADD', KEYS[4 + i], 'MAXLEN', '~', {live.KEPT}, '*', 'event', '{live.AGAIN}', 'body', '')
      heard[#heard + 1] = ARGV[6 + i]
    end
  end
  if #heard > 0 then redis.call('PUBLISH', '{keys.LIVE_CHANNEL}', table.concat(heard, '\\n')) end
end
"""
_PUBLISH: Final = (
    _GUARDED
    + """
local held = redis.call('GET', KEYS[1])
if held and held >= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
"""
    + _AGAIN
    + """
local key, at = 5 + asked, 8 + asked
for _ = 1, tonumber(ARGV[7 + asked]) do
  redis.call('SET', KEYS[key], ARGV[at], 'EX', ARGV[2])
  key, at = key + 1, at + 1
end
for i = key, #KEYS do
  redis.call('XADD', KEYS[i], 'MAXLEN', '~', ARGV[at], '*', 'event', ARGV[at + 1], 'body', ARGV[at + 2])
  at = at + 3
end
return 1
"""
)
_FORGET: Final = (
    _GUARDED
    + """
redis.call('SET', KEYS[1], ARGV[1])
"""
    + _AGAIN
    + """
for i = 5 + asked, #KEYS do redis.call('DEL', KEYS[i]) end
return 1
"""
)
# A miss may fill a model only with what is as new as the partition: else a dropped one would come back stale.
_FILL: Final = """
local held = redis.call('GET', KEYS[1])
if held and held > ARGV[1] then return 0 end
return redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3], 'NX') and 1 or 0
"""
MODEL_SECONDS: Final = 900
DROPPED_SECONDS: Final = 10
"""Longer than any read takes from its query to its fill."""


async def publish(
    client: Redis,
    partition: int,
    generation: str,
    position: Position,
    models: Mapping[str, bytes],
    replies: Mapping[str, bytes],
    snapshots: Sequence[live.Snapshot] = (),
    unheard: Collection[str] = (),
) -> None:
    """After the commit, in one trip: 8 caches, snapshots and the applied position, 9 outcomes to who waits, 10 trim.

    `generation` is what was read, with the server's run id: "<generation>/<run id>". In another Redis nothing changes.
    `unheard`: subjects that changed, and that nobody listened to; whoever does by now reads their state again.
    """
    pipe = client.pipeline(transaction=False)
    held = [keys.model(partition, name) for name in models]
    held += [keys.live(partition, subject) for subject, _, _ in snapshots]
    bodies = [part for _, event, body in snapshots for part in (live.KEPT, event, body)]
    _guarded(pipe, _PUBLISH, partition, generation, position, unheard, held, len(models), *models.values(), *bodies)
    for channel, body in replies.items():
        pipe.publish(keys.REPLY_CHANNEL + channel, body)
    live.tell(pipe, {subject for subject, _, _ in snapshots})
    await pipe.execute()


async def forget(
    client: Redis,
    partition: int,
    generation: str,
    position: Position,
    names: Iterable[str],
    changed: Collection[str] = (),
) -> None:
    """Set the applied position as Postgres has it, drop these models, and trim.

    `changed`: subjects of which nobody has told; who listens to them reads their state again.
    """
    pipe = client.pipeline(transaction=False)
    held = [keys.model(partition, name) for name in names]
    _guarded(pipe, _FORGET, partition, generation, position, changed, held)
    await pipe.execute()


def _guarded(
    pipe: Pipeline,
    script: str,
    partition: int,
    generation: str,
    position: Position,
    asked: Collection[str],
    others: Iterable[str],
    *rest: bytes | str | int,
) -> None:
    held = [keys.applied(partition), keys.generation(partition), keys.actions(partition), keys.listened(partition)]
    held += [keys.live(partition, subject) for subject in asked]
    held += others
    above = f"{position.ms}-{position.seq + 1}"
    values = (sortable(position), MODEL_SECONDS, generation, above, time.time(), len(asked), *asked, *rest)
    pipe.execute_command("EVAL", script, len(held), *held, *values)
    pipe.publish(keys.APPLIED_CHANNEL, f"{partition}.{position}")


async def forget_all(client: Redis, partition: int) -> None:
    """Drop every model of a partition: Redis lost what was written last, so that any of them may be old."""
    cursor, pattern = 0, keys.model(partition, "*")
    server = await cluster.owner(client, pattern)
    while True:
        cursor, found = await server.scan(cursor, match=pattern, count=1000)
        if found:
            await server.unlink(*found)
        if not cursor:
            return


async def drop(client: Redis, partition: int, names: Iterable[str]) -> None:
    """Drop models that changed beside the log, and keep reads that are under way from filling them with the old row.

    An empty model counts as none: it only stands in the way of `fill`.
    """
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.set(keys.model(partition, name), b"", ex=DROPPED_SECONDS)
    await pipe.execute()


async def fill(client: Redis, partition: int, position: Position, name: str, body: bytes) -> None:
    """Keep a model that was read from Postgres together with `position`, unless Redis knows better."""
    pipe = client.pipeline(transaction=False)
    held = (keys.applied(partition), keys.model(partition, name))
    pipe.execute_command("EVAL", _FILL, len(held), *held, sortable(position), body, MODEL_SECONDS)
    await pipe.execute()
