"""Actions for tests: single ones by hand, many by hypothesis from pools so small that times and values collide."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from jobs.action import Action, Draft
from jobs.tracking.kinds import metric_subject, session_subject

NOW = datetime.now(UTC).replace(microsecond=0)
START = NOW - timedelta(hours=20)
CLICK = {"eventType": "click", "category": "colour"}


def make(
    action_id: str,
    kind: str = "interaction.recorded",
    data: dict[str, Any] | None = None,
    *,
    at: datetime = START,
    received_at: datetime = NOW,
    flags: int = 0,
    reply: str | None = None,
    user_id: str | None = None,
    anonymous_id: str | None = None,
    session_id: str | None = None,
    org_id: str | None = None,
) -> Action:
    """An action as the door makes it; a click in session `s` unless told otherwise."""
    if user_id is None and anonymous_id is None and session_id is None:
        session_id = "s"
    draft = Draft(id=action_id, user_id=user_id, anonymous_id=anonymous_id, session_id=session_id, org_id=org_id)
    subject = (metric_subject if kind == "metric.recorded" else session_subject)(draft)
    assert subject is not None
    body = json.dumps(CLICK if data is None else data).encode()
    whom = (user_id, anonymous_id, session_id, org_id)
    return Action(action_id, kind, subject, at, received_at, flags, body, *whom, reply)


_moments = st.integers(0, 12).map(lambda n: START + timedelta(minutes=7 * n))
_devices = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["", "phone", "tablet"]),
        "width": st.integers(0, 2),
        "height": st.integers(0, 1),
    },
)
_interactions = st.fixed_dictionaries(
    {
        "eventType": st.sampled_from(["click", "hover", "selection", "scroll"]),
        "category": st.sampled_from(["size", "colour", "engine"]),
    },
    optional={"deviceInfo": _devices, "timeSpent": st.integers(0, 3), "selectionValue": st.sampled_from(["a", "b"])},
)
_snapshots = st.fixed_dictionaries(
    {
        "configuration": st.dictionaries(st.sampled_from("ab"), st.integers(0, 2), max_size=2),
        "trigger": st.sampled_from(["auto_save", "page_exit", "order_attempt"]),
    },
    optional={
        "totalPrice": st.sampled_from([0.0, 1.5, 9.0]),
        "completionPercentage": st.sampled_from([0.0, 40.0, 100.0]),
    },
)
_payloads = st.one_of(
    st.tuples(st.just("interaction.recorded"), _interactions),
    st.tuples(st.just("configuration.saved"), _snapshots),
    st.tuples(st.just("metric.recorded"), st.just({"metricName": "load", "value": 1.5, "additionalData": [1]})),
    st.tuples(st.just("page.viewed"), st.just({"path": "/"})),
    st.tuples(st.just("event.tracked"), st.just({"event": "seen", "properties": {"a": 1}})),
    st.tuples(st.just("user.identified"), st.just({"traits": {"a": 1}})),
    st.tuples(st.just("session.ended"), st.just({})),
)


@st.composite
def named(draw: st.DrawFn) -> list[Action]:
    """Distinct actions of a few sessions that clients named."""
    ids = st.sampled_from(["u1", "u2", None])
    rows = draw(st.lists(st.tuples(_payloads, _moments, _moments, st.sampled_from("xyz"), ids, ids, ids), max_size=25))
    return [
        make(
            f"a{n}", kind, data, at=at, received_at=got, session_id=s, user_id=user, anonymous_id=anonymous, org_id=org
        )
        for n, ((kind, data), at, got, s, user, anonymous, org) in enumerate(rows)
    ]


@st.composite
def wandering(draw: st.DrawFn, visitors: int = 3) -> list[Action]:
    """Distinct actions of visitors who name no session, in any order, with gaps around 30 minutes."""
    moments = st.integers(0, 40).map(lambda n: START + timedelta(minutes=10 * n))
    who = st.integers(1, visitors)
    kinds = _payloads.filter(lambda payload: payload[0] != "metric.recorded")
    rows = draw(st.lists(st.tuples(kinds, moments, who, st.booleans()), max_size=20))
    return [
        make(f"a{n}", kind, data, at=at, user_id=f"v{v}" if known else None, anonymous_id=None if known else f"v{v}")
        for n, ((kind, data), at, v, known) in enumerate(rows)
    ]


def cuts(length: int) -> st.SearchStrategy[list[int]]:
    """Where a list may be cut into batches."""
    return st.lists(st.integers(0, length), max_size=5).map(sorted)
