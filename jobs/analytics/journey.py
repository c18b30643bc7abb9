"""The journey of one session: what was done in which order, for how long, what was changed, and where it stopped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
import msgspec

from jobs.analytics.answers import QUERIES, Answer
from jobs.tracking.session import Session

MOST: Final = 5000
"""Facts of one journey; a longer one says that it is cut."""
CONFIGURATION_BYTES: Final = 4 * 1024 * 1024
"""Of all configurations of a journey, as they are stored; those behind are left out, and the journey says so."""
INTERACTION, CONFIGURATION = "interaction.recorded", "configuration.saved"


async def read(conn: asyncpg.Connection, session: Session) -> Answer:
    """The steps of a session, oldest first; times in ms."""
    whose = session.subject, session.session_id
    rows = await conn.fetch(QUERIES["journey_facts"], *whose, MOST + 1, CONFIGURATION_BYTES, session.received_at)
    is_short = any(row["kind"] == CONFIGURATION and row["configuration"] is None for row in rows)
    return told([dict(row) for row in rows[:MOST]]) | {"isCut": len(rows) > MOST or is_short}


def told(facts: Sequence[Mapping[str, Any]]) -> Answer:
    """What a journey says. The time of a step: what the client gave, else the gap to the next; the last has none."""
    steps: list[Answer] = []
    configuration: Any = None
    for fact, following in zip(facts, [*facts[1:], None], strict=True):
        step = _step(fact, following)
        if fact["configuration"] is not None:
            now = msgspec.json.decode(fact["configuration"])
            step["changes"] = differences(configuration, now)
            configuration = now
        steps.append(step)
    return {
        "steps": steps,
        "categories": _categories(facts, steps),
        "finalConfiguration": configuration,
        "stoppedAt": _stopped(facts),
    }


def _step(fact: Mapping[str, Any], following: Mapping[str, Any] | None) -> Answer:
    gap = None if following is None else round((following["at"] - fact["at"]).total_seconds() * 1000)
    step: Answer = {"at": fact["at"], "id": fact["id"], "kind": fact["kind"]}
    named = {
        "type": fact["type"],
        "name": fact["name"],
        "elementId": fact["element_id"],
        "value": fact["value"],
        "previousValue": fact["previous"],
        "totalPrice": fact["price"],
        "completionPercentage": fact["percentage"],
    }
    step |= {key: value for key, value in named.items() if value is not None}
    step["timeSpentMs"] = gap if fact["time_spent"] is None else fact["time_spent"]
    return step


def _categories(facts: Sequence[Mapping[str, Any]], steps: Sequence[Answer]) -> list[Answer]:
    """By category, in the order they were come to; a change of mind is a selection of another value than the last."""
    found: dict[str, Answer] = {}
    chosen: dict[str, list[str]] = defaultdict(list)
    for fact, step in zip(facts, steps, strict=True):
        if fact["kind"] != INTERACTION:
            continue
        name = fact["name"]
        own = found.setdefault(name, {"category": name, "interactions": 0, "timeSpentMs": 0})
        own["interactions"] += 1
        own["timeSpentMs"] += step["timeSpentMs"] or 0
        value = fact["value"]
        if value is not None and (not chosen[name] or chosen[name][-1] != value):
            chosen[name].append(value)
    return [
        {**own, "selections": chosen[name], "changesOfMind": max(0, len(chosen[name]) - 1)}
        for name, own in found.items()
    ]


def _stopped(facts: Sequence[Mapping[str, Any]]) -> str | None:
    """The last category; None when the session ended with an order, or nothing was looked at."""
    last = None
    for fact in facts:
        if fact["kind"] == INTERACTION:
            last = fact["name"]
        elif fact["kind"] == CONFIGURATION and (fact["type"] == "order_attempt" or (fact["percentage"] or 0) >= 100):
            return None
    return last


def differences(before: Any, after: Any, path: str = "$") -> list[Answer]:
    """What changed from one configuration to the next, by path; the first one is all new."""
    if before == after and type(before) is type(after):
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            one
            for key in sorted(before.keys() | after.keys())
            for one in differences(before.get(key), after.get(key), f"{path}.{key}")
        ]
    if before is None and isinstance(after, dict):
        return differences({}, after, path)
    return [{"path": path, "before": before, "after": after}]
