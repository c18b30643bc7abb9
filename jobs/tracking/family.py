"""Tracking: interactions, snapshots, metrics, page views and events, and the sessions that are folded from them.

A `sessionId` given by the client is one session, however long its pauses. Actions without one belong to a session of
their user or anonymous id, and a gap of 30 minutes starts a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from zlib import crc32

import asyncpg
import msgspec
from msgspec import Meta

from db import sql
from jobs.action import Action, Draft, Kind, Role
from jobs.analytics import metrics
from jobs.family import NOTHING, Emitted, Facts, Item, Outcome, Row, StateTable
from jobs.tracking import session as fold
from jobs.tracking.session import Session

QUERIES: Final = sql.read("tracking")
AUTO: Final = "auto:"
"""Prefix of the ids of sessions that we open for a visitor; clients cannot send one."""

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Text = Annotated[str, Meta(max_length=2048)]
Pixels = Annotated[int, Meta(ge=0, le=1_000_000)]
Milliseconds = Annotated[int, Meta(ge=0, le=366 * 86_400_000)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Free = msgspec.Raw
"""Free JSON; never `Raw | None`, which msgspec takes for null alone."""


class _Payload(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    pass


class DeviceInfo(_Payload):
    """The device that acted; width and height of the viewport in CSS pixels."""

    type: Annotated[str, Meta(max_length=64)] | None = None
    width: Pixels | None = None
    height: Pixels | None = None


class InteractionRecorded(_Payload):
    """Somebody clicked, hovered, selected or scrolled; `timeSpent` in milliseconds."""

    event_type: Literal["click", "hover", "selection", "scroll"]
    category: Name
    element_id: Text | None = None
    selection_value: Text | None = None
    previous_value: Text | None = None
    time_spent: Milliseconds | None = None
    device_info: DeviceInfo | None = None


class ConfigurationSaved(_Payload):
    """A snapshot of what the user has put together; `completionPercentage` in 0..100."""

    configuration: Free
    trigger: Literal["auto_save", "page_exit", "order_attempt"]
    total_price: Annotated[float, Meta(ge=-1e15, le=1e15)] | None = None
    completion_percentage: Percent | None = None


class MetricRecorded(_Payload):
    """One measurement, in the unit that its name says."""

    metric_name: Name
    value: float
    additional_data: Free = msgspec.field(default_factory=msgspec.Raw)


class PageViewed(_Payload):
    """A page was seen."""

    path: Text | None = None
    title: Text | None = None
    referrer: Text | None = None
    properties: Free = msgspec.field(default_factory=msgspec.Raw)


class EventTracked(_Payload):
    """Anything else that a product wants to count."""

    event: Name
    properties: Free = msgspec.field(default_factory=msgspec.Raw)


class UserIdentified(_Payload):
    """The session's user is known from here on."""

    traits: Free = msgspec.field(default_factory=msgspec.Raw)


class SessionEnded(_Payload):
    """The session is over; a later action opens it again."""


def session_subject(draft: Draft) -> str | None:
    """The session; without one the visitor: its user, else its anonymous id."""
    if draft.session_id is not None:
        return "session:" + draft.session_id
    if draft.user_id is not None:
        return "user:" + draft.user_id
    return None if draft.anonymous_id is None else "anonymous:" + draft.anonymous_id


def metric_subject(draft: Draft) -> str:
    """A metric may belong to no session: then its id spreads it over 64 subjects, a retry meeting its first copy."""
    if draft.session_id is not None:
        return "session:" + draft.session_id
    return f"metric:{crc32((draft.id or '').encode()) % 64}"


_ALL: Final[frozenset[Role]] = frozenset(("user", "service", "admin"))
INTERACTIONS, SNAPSHOTS, METRICS, EVENTS = (
    "interaction_events",
    "configuration_snapshots",
    "performance_metrics",
    "tracked_events",
)
_WHO: Final = ("subject", "id", "session_id", "user_id", "anonymous_id", "org_id")
_WHEN: Final = ("at", "received_at", "flags")


def _facts(table: str, *own: str) -> Facts:
    return Facts(table, (*_WHO, *own, *_WHEN), QUERIES[f"known_{table}"])


class Tracking:
    """The family whose subject is a session."""

    name = "tracking"
    group = "tracking"
    kinds: Sequence[Kind] = (
        Kind("interaction.recorded", InteractionRecorded, session_subject, _ALL, sheddable=True),
        Kind("configuration.saved", ConfigurationSaved, session_subject, _ALL, objects=("configuration",)),
        Kind("metric.recorded", MetricRecorded, metric_subject, _ALL, sheddable=True, any_json=("additional_data",)),
        Kind("page.viewed", PageViewed, session_subject, _ALL, objects=("properties",)),
        Kind("event.tracked", EventTracked, session_subject, _ALL, objects=("properties",)),
        Kind("user.identified", UserIdentified, session_subject, _ALL, objects=("traits",)),
        Kind("session.ended", SessionEnded, session_subject, _ALL),
    )
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
        named = {subject[8:] for _, a, _ in items if (subject := a.subject).startswith("session:")}
        visits = [a for _, a, _ in items if not a.subject.startswith(("session:", "metric:"))]
        states = States()
        if named:
            for row in await conn.fetch(QUERIES["load_sessions"], list(named)):
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
        rows: dict[str, list[Row]] = {}
        changed, find, touch = states.changed, states.session, fold.touch
        for _, action, payload in items:
            session = find(action)
            if session is not None:
                touch(session, action)
                changed[session.session_id] = session
            table, row = FOLDS[action.kind](payload, session, action)
            rows.setdefault(table, []).append(row)
        # name, value, additional data, at
        states.metrics = [row[6:10] for row in rows.get(METRICS, ())]
        return rows

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
        from jobs.analytics import rebuilding
        from jobs.tracking import facts as session_facts

        return (session_facts.Sessions(), *rebuilding.tables())


class States:
    """The sessions that one batch touches; `visits` groups those of visitors by their subject."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.visits: dict[str, list[Session]] = {}
        self.changed: dict[str, Session] = {}
        self.metrics: list[Row] = []
        self.given: dict[int, str] = {}
        """id() of a visitor's action of this batch -> its session, which later ones of the batch must not change."""

    def add(self, session: Session) -> Session:
        """Take a session of a visitor in."""
        self.sessions[session.session_id] = session
        self.visits.setdefault(session.subject, []).append(session)
        return session

    def session(self, action: Action) -> Session | None:
        """The session of an action, opened if need be; None for a metric that belongs to none."""
        subject = action.subject
        if subject.startswith("session:"):
            key = subject[8:]
            if (found := self.sessions.get(key)) is None:
                found = self.sessions[key] = fold.opened(action, key)
            return found
        if subject.startswith("metric:"):
            return None
        near = fold.assign(self.visits.get(subject, ()), action)
        if near is None:
            near = f"{AUTO}{subject}@{int(action.at.timestamp() * 1000)}"
            self.add(fold.opened(action, near))
        self.given[id(action)] = near
        return self.sessions[near]


def encode(session: Session) -> bytes:
    """The read model of a session: JSON, camelCase, times in RFC 3339 UTC."""
    return msgspec.json.encode(session)


def _text(raw: Free) -> str | None:
    """Free JSON as jsonb takes it; None when it was not given, or null."""
    text = str(raw, "utf-8")
    return None if text in _ABSENT else text


_ABSENT: Final = ("", "null")
_NO_DEVICE: Final = (None, None, None)


# Each builds its whole row at once: these lines run for every action.
def _interaction(p: InteractionRecorded, s: Session, a: Action) -> tuple[str, Row]:
    if (d := p.device_info) is None:
        kind, width, height = _NO_DEVICE
    else:
        kind, width, height = d.type, d.width, d.height
        fold.device(s, a.at, (kind, width, height))
    fold.interact(s, a.at, p.category)
    return INTERACTIONS, (
        *(a.subject, a.id, s.session_id, a.user_id, a.anonymous_id, a.org_id),
        *(p.event_type, p.category, p.element_id, p.selection_value, p.previous_value, p.time_spent),
        *(kind, width, height, a.at, a.received_at, a.flags),
    )


def _snapshot(p: ConfigurationSaved, s: Session, a: Action) -> tuple[str, Row]:
    fold.snapshot(s, a.at, p.total_price, p.completion_percentage, p.trigger == "order_attempt")
    return SNAPSHOTS, (
        *(a.subject, a.id, s.session_id, a.user_id, a.anonymous_id, a.org_id),
        *(_text(p.configuration), p.total_price, p.completion_percentage, p.trigger, a.at, a.received_at, a.flags),
    )


def _metric(p: MetricRecorded, s: Session | None, a: Action) -> tuple[str, Row]:
    session_id = None
    if s is not None:
        session_id = s.session_id
        s.metrics += 1
    return METRICS, (
        *(a.subject, a.id, session_id, a.user_id, a.anonymous_id, a.org_id),
        *(p.metric_name, p.value, _text(p.additional_data), a.at, a.received_at, a.flags),
    )


def _event_row(s: Session, a: Action, event: str | None, properties: str | None) -> tuple[str, Row]:
    return EVENTS, (
        *(a.subject, a.id, s.session_id, a.user_id, a.anonymous_id, a.org_id),
        *(a.kind, event, properties, a.at, a.received_at, a.flags),
    )


def _page(p: PageViewed, s: Session, a: Action) -> tuple[str, Row]:
    s.page_views += 1
    return _event_row(s, a, p.path, a.data.decode())


def _event(p: EventTracked, s: Session, a: Action) -> tuple[str, Row]:
    s.events += 1
    return _event_row(s, a, p.event, _text(p.properties))


def _identified(p: UserIdentified, s: Session, a: Action) -> tuple[str, Row]:
    return _event_row(s, a, None, _text(p.traits))


def _ended(_: SessionEnded, s: Session, a: Action) -> tuple[str, Row]:
    fold.end(s, a.at)
    return _event_row(s, a, None, None)


FOLDS: Final[Mapping[str, Callable[[Any, Any, Action], tuple[str, Row]]]] = {
    "interaction.recorded": _interaction,
    "configuration.saved": _snapshot,
    "metric.recorded": _metric,
    "page.viewed": _page,
    "event.tracked": _event,
    "user.identified": _identified,
    "session.ended": _ended,
}
