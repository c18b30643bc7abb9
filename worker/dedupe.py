"""An id counts once: which of a batch were applied before. What that costs and why it holds: docs/architecture.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import asyncpg

from jobs.action import OWN_ID, Action
from jobs.family import Family, Outcome
from worker.applied import Item
from worker.seen import ANY, Seen

Key = tuple[str, str, str]
"""Table, subject, id."""
Firsts = dict[Key, tuple[str, Outcome]]
"""Kind and outcome of what was applied under an id."""
FirstSeen = Mapping[str, datetime | None]
"""Subject -> the arrival before which nothing of it can lie; None: nothing of it was ever applied."""


def key(family: Family, action: Action) -> Key:
    """Where an action's id counts once."""
    return family.table(action.kind).table, action.subject, action.id


def doubtful(items: Sequence[Item], first_seen: FirstSeen, seen: Seen | None, replay: bool) -> list[Action]:
    """Those that may have been applied; all others surely were not. Ids that we gave come twice in a replay only."""
    applied = {
        subject: () if first is None else ANY if seen is None else seen.of(subject)
        for subject, first in first_seen.items()
    }
    return [
        action
        for _, action, _ in items
        if action.id in applied[action.subject] and (replay or not action.flags & OWN_ID)
    ]


async def known(
    conn: asyncpg.Connection, family: Family, asked: Sequence[Action], first_seen: FirstSeen, since: datetime
) -> Firsts:
    """Which of these ids were applied before, as what kind, with their first outcome.

    Each day's partition costs a probe of 3 us for every id: subjects first seen today are looked for in today's alone.
    """
    if not asked:
        return {}
    today = max(action.received_at for action in asked).replace(hour=0, minute=0, second=0, microsecond=0)
    groups: dict[tuple[str, datetime], list[Action]] = {}
    for action in asked:
        begin = today if (first_seen[action.subject] or since) >= today else since
        groups.setdefault((family.table(action.kind).table, begin), []).append(action)
    queries = {facts.table: facts.known for facts in family.facts}
    found: Firsts = {}
    for (table, begin), actions in groups.items():
        subjects, ids = [action.subject for action in actions], [action.id for action in actions]
        for row in await conn.fetch(queries[table], subjects, ids, begin):
            found[table, row["subject"], row["id"]] = row["kind"], family.known(row)
    return found


def split(family: Family, items: Sequence[Item], firsts: Firsts) -> tuple[list[Item], list[Action]]:
    """The items whose id is seen for the first time, in order; and the duplicates."""
    if not firsts and len({action.id for _, action, _ in items}) == len(items):
        return list(items), []
    new: list[Item] = []
    duplicates: list[Action] = []
    seen: set[Key] = set(firsts)
    for item in items:
        own = key(family, item[1])
        if own in seen:
            duplicates.append(item[1])
        else:
            seen.add(own)
            new.append(item)
    return new, duplicates
