"""What sessions count for, from their rows and facts: the reading that a pass, a check and a rebuild share."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import asyncpg
import msgspec

from db import sql
from jobs.analytics import cells, counted
from jobs.analytics.cells import Base, Count
from jobs.analytics.counted import LATEST, Counts, Reckoning
from jobs.analytics.funnel_catalog import Funnel
from jobs.analytics.funnels import Done
from jobs.tracking.session import Session

QUERIES: Final = sql.read("rollups")
FACTS: Final = sql.read("session_facts")
READ_MOST: Final = 100_000
"""Facts of a session that are read: one of more is a machine's, and its actions are only counted, by minute."""
AT_ONCE: Final = 40
"""Sessions that are read at once; a configuration may have 256 KiB."""
FACTS_AT_ONCE: Final = 1000
"""Facts that are read at once, but for sessions that have more themselves."""
TURN: Final = 250
"""Facts that are taken up while nothing else has a turn: with 50,000 others waited 16 ms, with all at once 399."""
TURN_BYTES: Final = 64 * 1024
"""Of configurations, in the same way."""

Read = list[tuple[Session, Counts]]


class Latest(msgspec.Struct, rename="camel", order=True):
    """One of the newest actions. `at`: seconds since 1970; `name`: what it was done with."""

    at: float
    id: str
    kind: str
    name: str | None
    session_id: str


def size(session: Session) -> int:
    """How many facts it has, about."""
    return session.interactions + session.snapshots + session.page_views + session.events + session.metrics


def parts(of: Sequence[Session]) -> Iterator[list[Session]]:
    """Sessions to read at once: so many that their facts and configurations fit into memory."""
    part: list[Session] = []
    facts = 0
    for session in of:
        if part and (len(part) >= AT_ONCE or facts + size(session) > FACTS_AT_ONCE):
            yield part
            part, facts = [], 0
        part.append(session)
        facts += size(session)
    if part:
        yield part


async def sessions(conn: asyncpg.Connection, ids: Sequence[str]) -> list[Session]:
    """Their rows, by id; those of sessions that nobody knows are missing."""
    found = [Session(*row) for row in await conn.fetch(QUERIES["roll_sessions"], ids)]
    return sorted(found, key=lambda one: one.session_id)


async def read(
    conn: asyncpg.Connection,
    of: Sequence[Session],
    funnels: Sequence[Funnel],
    before: Mapping[str, Counts],
    latest: list[Latest] | None = None,
    *,
    keeps: bool = True,
) -> Read:
    """What these sessions count for; `keeps`: the bodies of their configurations are written down.

    `before`: what they counted for, of which those keep their part whose facts retention has dropped. The newest
    actions go to `latest`.
    """
    reckonings = await _reckoned(conn, [one for one in of if size(one) <= READ_MOST], funnels)
    actions = await _actions(conn, [one for one in of if size(one) > READ_MOST])
    finals = await _finals(conn, of, keeps=keeps)
    # Behind the facts: a day that is dropped in between makes a session seem torn that was read whole, never the other
    # way round.
    oldest = await conn.fetchval(FACTS["oldest_day"])
    found: Read = []
    for session in of:
        key = session.session_id
        if key in actions:
            counts = counted.of_row(session, finals.get(key)) | actions[key]
        else:
            counts = reckonings[key].counts(finals.get(key))
        is_torn = oldest is None or session.received_at < oldest
        if is_torn and key in before:
            counts = counted.merged(counted.unmarked(before[key]), counts)
        found.append((session, counted.marked(counts) if session.is_bot else counts))
    if latest is not None:
        people = {session.session_id for session in of if not session.is_bot}
        latest += _newest({key: one.newest for key, one in reckonings.items() if key in people})
    return found


def _whose(of: Sequence[Session]) -> tuple[list[Any], ...]:
    return [s.subject for s in of], [s.session_id for s in of], [s.received_at for s in of]


async def _reckoned(
    conn: asyncpg.Connection, of: Sequence[Session], funnels: Sequence[Funnel]
) -> Mapping[str, Reckoning]:
    """Fact by fact, as they come; the loop has its turn in between."""
    found = {one.session_id: Reckoning(one, funnels) for one in of}
    if not of:
        return found
    async with conn.transaction():
        cursor = await conn.cursor(QUERIES["roll_facts"], *_whose(of))
        while rows := await cursor.fetch(TURN):
            for session_id, *fact in rows:
                found[session_id].take(Done(*fact))
    return found


async def _actions(conn: asyncpg.Connection, of: Sequence[Session]) -> Mapping[str, Counts]:
    found: dict[str, Counts] = defaultdict(dict)
    if of:
        for session_id, at, kind, n in await conn.fetch(QUERIES["count_facts"], *_whose(of)):
            found[session_id][Base("actions", at, kind)] = Count(n)
    return found


async def _finals(conn: asyncpg.Connection, of: Sequence[Session], *, keeps: bool) -> Mapping[str, str]:
    """session -> digest of its newest configuration."""
    finals: dict[str, str] = {}
    bodies: dict[str, str] = {}
    read = 0
    for session_id, body in await conn.fetch(
        QUERIES["final_configurations"], *_whose([one for one in of if one.snapshots])
    ):
        read += len(body)
        if read > TURN_BYTES:
            read = 0
            await asyncio.sleep(0)
        text = canonical(body)
        finals[session_id] = digest = hashlib.sha256(text.encode()).hexdigest()
        bodies[digest] = text
    if bodies and keeps:
        await conn.execute(QUERIES["save_configurations"], *map(list, zip(*sorted(bodies.items()), strict=True)))
    return finals


def canonical(text: str) -> str:
    """JSON with its keys in order and whole numbers without a point: equal configurations are equal text."""
    return json.dumps(_plain(msgspec.json.decode(text)), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _newest(facts: Mapping[str, Iterable[Done]]) -> list[Latest]:
    found = (
        Latest(done.at, done.id, done.kind, None if done.name is None else cells.short(done.name), session_id)
        for session_id, own in facts.items()
        for done in own
    )
    return heapq.nlargest(LATEST, found)
