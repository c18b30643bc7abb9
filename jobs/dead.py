"""Dead letters: look at them, send them through the pipe once more, or put them away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec
from redis.asyncio import Redis

from db import lanes, partitions, promises, sql, stream
from db.appending import Log
from db.settings import Settings
from jobs.action import OWN_ID, Action

QUERIES: Final = sql.read("pipe")
_action: Final = msgspec.msgpack.Decoder(Action)
_encode: Final = msgspec.msgpack.Encoder().encode


@dataclass(slots=True)
class Retried:
    """What a retry did; `refused`: the letters that cannot be retried, with the reason."""

    sent: int = 0
    refused: list[tuple[UUID, str]] = field(default_factory=list)


class Retry:
    """Sends dead letters again: under their own ids, which from now on are looked up like a client's."""

    def __init__(self, client: Redis, log: Log, retention_days: int) -> None:
        self.client, self.log, self.retention_days = client, log, retention_days

    async def chunk(self, conn: asyncpg.Connection, ids: Sequence[UUID]) -> Retried:
        """Retry those of these letters that are still open; the caller owns the transaction.

        The rows are locked, so that of two operators one sends. Dying between the append and the commit leaves them
        open: a second retry appends the same ids again, and the first copy counts.
        """
        done, actions, marked = Retried(), [], []
        for row in await conn.fetch(QUERIES["lock_dead_letters"], ids):
            action = decode(row["body"])
            reason = self._obstacle(action)
            if action is None or reason:
                done.refused.append((row["id"], reason))
                continue
            actions.append(action)
            marked.append(row["id"])
        if not actions:
            return done
        for day in sorted({action.received_at.date() for action in actions}):
            await conn.fetchval(QUERIES["ensure_days"], day, day)
        await self.log.append(
            (stream.partition_of(action.subject, self.log.partitions), _again(action)) for action in actions
        )
        await conn.execute(QUERIES["mark_retried"], marked)
        done.sent = len(marked)
        return done

    def _obstacle(self, action: Action | None) -> str:
        if action is None:
            return "it cannot be decoded, so nobody knows what it was: discard it"
        if action.received_at < datetime.now(UTC) - timedelta(days=self.retention_days - 1):
            return f"it arrived {action.received_at:%Y-%m-%d}, before what retention keeps: discard it"
        return ""


def _again(action: Action) -> bytes:
    """The same action; nobody waits for its outcome any more, and its id may have been applied before."""
    return _encode(msgspec.structs.replace(action, flags=action.flags & ~OWN_ID, reply=None))


def decode(body: bytes) -> Action | None:
    """The action of a letter; None when it is none."""
    try:
        return _action.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


async def opened_log(conn: asyncpg.Connection, client: Redis, settings: Settings) -> Log:
    """The log to append to, with the promises that the API keeps; stop it at the end. Raises promises.Misconfigured."""
    number: int = await conn.fetchval(partitions.QUERIES["count_partitions"])
    log = lanes.log(client, number, settings.backlog_limit)
    log.waits = await promises.demand(client, settings.durability)
    log.backlog = sum(await stream.size(client, number))
    log.refusal = None
    log.start()
    return log


async def retry(
    conn: asyncpg.Connection, client: Redis, settings: Settings, chunks: AsyncIterator[list[UUID]]
) -> Retried:
    """Retry chunk after chunk, each in a transaction of its own."""
    log = await opened_log(conn, client, settings)
    total, sender = Retried(), Retry(client, log, settings.retention_days)
    try:
        async for ids in chunks:
            async with conn.transaction():
                done = await sender.chunk(conn, ids)
            total.sent += done.sent
            total.refused += done.refused
    finally:
        await asyncio.shield(log.stop())
    return total


async def discard(conn: asyncpg.Connection, chunks: AsyncIterator[list[UUID]]) -> int:
    """Put letters away; how many were open."""
    return sum([len(await conn.fetch(QUERIES["mark_discarded"], ids)) async for ids in chunks])


def as_json(row: asyncpg.Record) -> str:
    """A letter and its action as JSON; what is not text or not JSON in it stays readable as escapes."""
    action = decode(row["body"])
    shown: dict[str, Any] = {name: value for name, value in row.items() if name != "body"}
    if action is None:
        shown["bytes"] = row["body"].hex()
    else:
        shown["action"] = as_shown(action)
    return json.dumps(shown, indent=2, default=str)


def as_shown(action: Action) -> dict[str, Any]:
    """An action with its data as it reads."""
    return msgspec.structs.asdict(action) | {"data": _data(action.data)}


def _data(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data.decode(errors="backslashreplace")
