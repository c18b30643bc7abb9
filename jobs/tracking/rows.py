"""An action of each kind, folded into its session, and the row of its fact."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from jobs.action import Action
from jobs.family import Row
from jobs.tracking import session as fold
from jobs.tracking.kinds import (
    ConfigurationSaved,
    EventTracked,
    Free,
    InteractionRecorded,
    MetricRecorded,
    PageViewed,
    SessionEnded,
    UserIdentified,
)
from jobs.tracking.session import Session

INTERACTIONS, SNAPSHOTS, METRICS, EVENTS = (
    "interaction_events",
    "configuration_snapshots",
    "performance_metrics",
    "tracked_events",
)
_ABSENT: Final = ("", "null")
_NO_DEVICE: Final = (None, None, None)


def _text(raw: Free) -> str | None:
    """Free JSON as jsonb takes it; None when it was not given, or null."""
    text = str(raw, "utf-8")
    return None if text in _ABSENT else text


# Each builds its whole row at once: these lines run for every action.
def _interaction(p: InteractionRecorded, s: Session, a: Action) -> Row:
    if (d := p.device_info) is None:
        kind, width, height = _NO_DEVICE
    else:
        kind, width, height = d.type, d.width, d.height
        fold.device(s, a.at, (kind, width, height))
    fold.interact(s, a.at, p.category)
    # One flat tuple: put together of parts it takes twice as long.
    return (
        a.subject,
        a.id,
        s.session_id,
        a.user_id,
        a.anonymous_id,
        a.org_id,
        p.event_type,
        p.category,
        p.element_id,
        p.selection_value,
        p.previous_value,
        p.time_spent,
        kind,
        width,
        height,
        a.at,
        a.received_at,
        a.flags,
    )


def _snapshot(p: ConfigurationSaved, s: Session, a: Action) -> Row:
    fold.snapshot(s, a.at, p.total_price, p.completion_percentage, p.trigger == "order_attempt")
    return (
        *(a.subject, a.id, s.session_id, a.user_id, a.anonymous_id, a.org_id),
        *(_text(p.configuration), p.total_price, p.completion_percentage, p.trigger, a.at, a.received_at, a.flags),
    )


def _metric(p: MetricRecorded, s: Session | None, a: Action) -> Row:
    session_id = None
    if s is not None:
        session_id = s.session_id
        s.metrics += 1
    return (
        *(a.subject, a.id, session_id, a.user_id, a.anonymous_id, a.org_id),
        *(p.metric_name, p.value, _text(p.additional_data), a.at, a.received_at, a.flags),
    )


def _event_row(s: Session, a: Action, event: str | None, properties: str | None) -> Row:
    return (
        *(a.subject, a.id, s.session_id, a.user_id, a.anonymous_id, a.org_id),
        *(a.kind, event, properties, a.at, a.received_at, a.flags),
    )


def _page(p: PageViewed, s: Session, a: Action) -> Row:
    s.page_views += 1
    return _event_row(s, a, p.path, a.data.decode())


def _event(p: EventTracked, s: Session, a: Action) -> Row:
    s.events += 1
    return _event_row(s, a, p.event, _text(p.properties))


def _identified(p: UserIdentified, s: Session, a: Action) -> Row:
    return _event_row(s, a, None, _text(p.traits))


def _ended(_: SessionEnded, s: Session, a: Action) -> Row:
    fold.end(s, a.at)
    return _event_row(s, a, None, None)


FOLDS: Final[Mapping[str, tuple[str, Callable[[Any, Any, Action], Row]]]] = {
    "interaction.recorded": (INTERACTIONS, _interaction),
    "configuration.saved": (SNAPSHOTS, _snapshot),
    "metric.recorded": (METRICS, _metric),
    "page.viewed": (EVENTS, _page),
    "event.tracked": (EVENTS, _event),
    "user.identified": (EVENTS, _identified),
    "session.ended": (EVENTS, _ended),
}
"""Kind -> the table of its facts, and what folds one in and makes its row."""
