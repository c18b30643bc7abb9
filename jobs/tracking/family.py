"""Tracking: interactions, snapshots, metrics, page views and events, and the sessions that are folded from them.

A `sessionId` given by the client is one session, however long its pauses. Actions without one belong to a session of
their user or anonymous id, and a gap of 30 minutes starts a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import asyncpg
import msgspec

from db import sql
from jobs.action import Action
from jobs.analytics import metrics, rebuilding
from jobs.family import NOTHING, Emitted, Facts, Item, Outcome, Row, StateTable
from jobs.kind import Kind
from jobs.tracking import facts as session_facts
from jobs.tracking import session as fold
from jobs.tracking.kinds import KINDS
from jobs.tracking.rows import EVENTS, FOLDS, INTERACTIONS, METRICS, SNAPSHOTS
from jobs.tracking.session import Session
from jobs.tracking.states import States, encode

QUERIES: Final = sql.read("tracking")
_WHO: Final = ("subject", "id", "session_id", "user_id", "anonymous_id", "org_id")
_WHEN: Final = ("at", "received_at", "flags")


def _facts(table: str, *own: str) -> Facts:
    return Facts(table, (*_WHO, *own, *_WHEN), QUERIES[f"known_{table}"])


class Tracking:
    """The family whose subject is a session."""

    name = "tracking"
    group = "tracking"
    kinds: Sequence[Kind] = KINDS
    facts: Sequence[Facts] = (
        _facts(
            INTERACTIONS,
            *("event_type", "category", "element_id", "selection_value", "previous_value", "time_spent"),
            *("device_type", "viewport_width", "viewport_height"),
        ),
        _facts(SNAPSHOTS, "configuration_data", "total_price", "completion_percentage", "trigger_event"),
        _facts(METRICS, "metric_name", "value", "additional_data"),
        _facts(EVENTS, "kind", "event", "properties"),
    )
    tables: Mapping[str, Facts] = {
        "interaction.recorded": facts[0],
        "configuration.saved": facts[1],
        "metric.recorded": facts[2],
    }

    def table(self, kind: str) -> Facts:
        """The table that holds the facts of `kind`."""
        return self.tables.get(kind, self.facts[3])

    def known(self, row: asyncpg.Record) -> Outcome:
        """Where the first copy went."""
        return {"sessionId": row["session_id"]}

    async def load(self, conn: asyncpg.Connection, items: Sequence[Item]) -> States:
        """The sessions that are named, and those of visitors near the times of this batch."""
        subjects = {a.subject for _, a, _ in items}
        named = [subject[8:] for subject in subjects if subject.startswith("session:")]
        visitors = {subject for subject in subjects if not subject.startswith(("session:", "metric:"))}
        visits = [a for _, a, _ in items if a.subject in visitors] if visitors else ()
        states = States()
        if named:
            for row in await conn.fetch(QUERIES["load_sessions"], named):
                states.sessions[row["session_id"]] = Session(*row)
        if visits:
            spans: dict[str, tuple[datetime, datetime]] = {}
            for a in visits:
                first, last = spans.get(a.subject, (a.at, a.at))
                spans[a.subject] = min(first, a.at), max(last, a.at)
            firsts, lasts = zip(*spans.values(), strict=True)
            for row in await conn.fetch(QUERIES["load_visits"], list(spans), firsts, lasts, fold.IDLE):
                states.add(Session(*row))
        return states

    def first_seen(self, states: States, subject: str, since: datetime) -> datetime | None:
        """A named session's own row tells; a visitor's sessions of other times were not loaded."""
        if not subject.startswith("session:"):
            return since
        session = states.sessions.get(subject[8:])
        return None if session is None else session.received_at

    def fold(self, states: States, items: Sequence[Item]) -> Mapping[str, list[Row]]:
        """Find or open each action's session, fold the action into it, and build the fact's row."""
        rows: dict[str, list[Row]] = {facts.table: [] for facts in self.facts}
        add = {kind: (build, rows[table].append) for kind, (table, build) in FOLDS.items()}
        named, touch = states.named, fold.touch
        for _, action, payload in items:
            session = named.get(action.subject) or states.session(action)
            if session is not None:
                touch(session, action)
            build, append = add[action.kind]
            append(build(payload, session, action))
        # name, value, additional data, at
        states.metrics = [row[6:10] for row in rows[METRICS]]
        return {table: made for table, made in rows.items() if made}

    def outcome(self, states: States, action: Action) -> Outcome:
        """The session that the action went to."""
        if action.subject.startswith("session:"):
            return {"sessionId": action.subject[8:]}
        return {"sessionId": states.given.get(id(action))}

    def emitted(self, states: States) -> Emitted:
        """Sessions have no effects."""
        return NOTHING

    async def save(self, conn: asyncpg.Connection, states: States) -> None:
        """One upsert, ordered by key, so that two writers can never wait for each other; and a note for the rollups."""
        if states.changed:
            rows = [msgspec.structs.astuple(states.changed[key]) for key in sorted(states.changed)]
            await conn.execute(QUERIES["save_sessions"], *map(list, zip(*rows, strict=True)))
        noted = metrics.noted(states.metrics).decode() if states.metrics else None
        await conn.execute(QUERIES["note_changes"], sorted(states.changed), noted)

    def models(self, states: States) -> Iterable[tuple[str, bytes]]:
        """A session as `GET /v1/sessions/{id}` shows it."""
        for session in states.changed.values():
            yield "session:" + session.session_id, encode(session)

    async def model_names(self, conn: asyncpg.Connection, items: Sequence[Item]) -> Iterable[str]:
        """Every session that these actions may have gone to."""
        return ["session:" + key for key in (await self.load(conn, items)).sessions]

    def owns(self, kind: str) -> bool:
        """Whether a kind is of this family."""
        return any(own.name == kind for own in self.kinds)

    def state_tables(self) -> Sequence[StateTable]:
        """The sessions, and the rollups that come of them."""
        return (session_facts.Sessions(), *rebuilding.tables())
