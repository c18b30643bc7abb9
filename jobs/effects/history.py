"""Effects as operators see them: listed with their deliveries, retried, discarded; singly and by filter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from db import sql
from jobs.place import EffectPlace

QUERIES: Final = sql.read("effects")
DELIVERIES: Final = sql.read("deliveries")
CHUNK: Final = 500
_FIRST: Final = UUID(int=0)
DISCARDED: Final = "discarded by an operator"

Status = Literal["pending", "delivered", "dead", "discarded"]
STATUSES: Final[tuple[Status, ...]] = ("pending", "delivered", "dead", "discarded")


class Filter(NamedTuple):
    """Which ones: of a status, a type (exact, or `prefix*`), to a destination."""

    status: Status | None = None
    type: str | None = None
    destination: UUID | None = None


class Tried(msgspec.Struct, rename="camel", frozen=True):
    """One attempt: the HTTP status, if there was one, or what went wrong, and the beginning of the answer."""

    number: int
    at: datetime
    milliseconds: int
    status: int | None
    error: str | None
    response: str | None


class Target(msgspec.Struct, rename="camel", frozen=True):
    """Where a delivery goes; of a destination that was deleted only the id is left."""

    id: UUID
    sort: str | None
    url: str | None


class OneDelivery(msgspec.Struct, rename="camel"):
    """One effect on its way to one destination. `effectId` is what the receiver sees as `webhook-id`."""

    id: UUID
    effect_id: str
    type: str
    subject: str
    destination: Target
    status: Status
    reason: str | None
    attempt_count: int
    created_at: datetime
    due_at: datetime | None
    """Of a pending one: when it is tried next, or when a try of it that is under way has ended."""
    done_at: datetime | None
    attempts: list[Tried] | msgspec.UnsetType = msgspec.UNSET
    """Where one effect or one destination was asked for."""


class OneEffect(msgspec.Struct, rename="camel"):
    """An effect. `status`: pending while any of its deliveries is, else dead, delivered or discarded; none of none."""

    id: str
    type: str
    subject: str
    at: datetime
    created_at: datetime
    data: msgspec.Raw
    order: str | None
    status: Literal["pending", "delivered", "dead", "discarded", "none"]
    deliveries: list[OneDelivery]


# Reading.


async def page(
    conn: asyncpg.Connection, chosen: Filter, limit: int, cursor: EffectPlace | None = None
) -> tuple[list[OneEffect], EffectPlace | None]:
    """Effects, newest first, with their deliveries; and where the next page begins, if there is one."""
    behind = cursor or (None, None, None)
    if chosen.status is None and chosen.destination is None:
        rows = await conn.fetch(QUERIES["list_effects"], chosen.type, *behind, limit + 1)
    else:
        rows = await conn.fetch(
            QUERIES["list_effects_of_deliveries"], chosen.type, *behind, limit + 1, chosen.status, chosen.destination
        )
    more, rows = len(rows) > limit, rows[:limit]
    following = EffectPlace(rows[-1]["created_at"], rows[-1]["number"], rows[-1]["message_id"]) if more else None
    return await _with_deliveries(conn, rows, attempts=False), following


async def find(conn: asyncpg.Connection, ids: Sequence[str]) -> list[OneEffect]:
    """Effects by their ids (`msg_…`), with every attempt of their deliveries."""
    return await _with_deliveries(conn, await conn.fetch(QUERIES["find_effects"], list(ids)), attempts=True)


async def of_destination(
    conn: asyncpg.Connection, destination: UUID, status: Status | None, limit: int, cursor: EffectPlace | None = None
) -> tuple[list[OneDelivery], EffectPlace | None]:
    """What went to one destination, newest first, with every attempt."""
    behind = cursor or (None, None, None)
    rows = await conn.fetch(DELIVERIES["deliveries_of_destination"], destination, *behind, limit + 1, status)
    more, rows = len(rows) > limit, rows[:limit]
    following = EffectPlace(rows[-1]["created_at"], rows[-1]["number"], rows[-1]["message_id"]) if more else None
    found = [_delivery(row) for row in rows]
    await _add_attempts(conn, found)
    return found, following


async def _with_deliveries(
    conn: asyncpg.Connection, rows: Sequence[asyncpg.Record], *, attempts: bool
) -> list[OneEffect]:
    by_effect: dict[str, list[OneDelivery]] = defaultdict(list)
    for row in await conn.fetch(QUERIES["deliveries_of_effects"], [row["message_id"] for row in rows]):
        by_effect[row["message_id"]].append(_delivery(row))
    if attempts:
        await _add_attempts(conn, [one for group in by_effect.values() for one in group])
    return [_effect(row, by_effect[row["message_id"]]) for row in rows]


def _effect(row: asyncpg.Record, deliveries: list[OneDelivery]) -> OneEffect:
    held = {one.status for one in deliveries}
    order: tuple[Status, ...] = ("pending", "dead", "delivered", "discarded")
    return OneEffect(
        id=row["message_id"],
        type=row["type"],
        subject=row["subject"],
        at=row["at"],
        created_at=row["created_at"],
        data=msgspec.Raw(row["data"].encode()),
        order=row["order_key"],
        status=next((status for status in order if status in held), "none"),
        deliveries=deliveries,
    )


def _delivery(row: asyncpg.Record) -> OneDelivery:
    return OneDelivery(
        id=row["id"],
        effect_id=row["message_id"],
        type=row["type"],
        subject=row["subject"],
        destination=Target(row["destination"], row.get("sort"), row.get("url")),
        status=row["status"],
        reason=row["reason"],
        attempt_count=row["attempts"],
        created_at=row["created_at"],
        due_at=row["due_at"] if row["status"] == "pending" else None,
        done_at=row["done_at"],
    )


async def _add_attempts(conn: asyncpg.Connection, deliveries: Sequence[OneDelivery]) -> None:
    found: dict[UUID, list[Tried]] = {one.id: [] for one in deliveries}
    for row in await conn.fetch(QUERIES["attempts_of_deliveries"], list(found)):
        found[row["delivery"]].append(Tried(*list(row.values())[1:]))
    for one in deliveries:
        one.attempts = found[one.id]


# Changing. The caller owns the transaction of each chunk.


async def chosen_deliveries(
    conn: asyncpg.Connection, statuses: Sequence[str], chosen: Filter, effects: Sequence[str] | None = None
) -> AsyncIterator[list[UUID]]:
    """The deliveries that are meant, chunk by chunk."""
    wanted, after = list(effects) if effects is not None else None, _FIRST
    while True:
        rows = await conn.fetch(
            *(QUERIES["select_effect_deliveries"], wanted, list(statuses), chosen.type, chosen.destination),
            *(after, CHUNK),
        )
        if not rows:
            return
        yield [row["id"] for row in rows]
        after = rows[-1]["id"]


async def count(conn: asyncpg.Connection, statuses: Sequence[str], chosen: Filter) -> int:
    """How many deliveries a filter means."""
    number: int = await conn.fetchval(
        QUERIES["count_effect_deliveries"], list(statuses), chosen.type, chosen.destination
    )
    return number


async def retry(conn: asyncpg.Connection, ids: Sequence[UUID]) -> int:
    """Deliver these again, at once and as if never tried, but for those of disabled destinations; how many."""
    done = await conn.fetch(QUERIES["retry_deliveries"], list(ids))
    await conn.execute(QUERIES["wake_destinations"], [row["id"] for row in done])
    return len(done)


async def discard(conn: asyncpg.Connection, ids: Sequence[UUID]) -> int:
    """Put these away; how many."""
    return len(await conn.fetch(QUERIES["discard_deliveries"], list(ids), DISCARDED))


def as_json(value: Any) -> str:
    """For a terminal."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
