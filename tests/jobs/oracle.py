"""What the sessions must be, reckoned anew from all actions at once: written from the contract, not from the fold."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from jobs.action import Action

TABLES = {
    "interaction.recorded": "interaction_events",
    "configuration.saved": "configuration_snapshots",
    "metric.recorded": "performance_metrics",
}
COUNTED = {
    "interaction.recorded": "interactions",
    "configuration.saved": "snapshots",
    "page.viewed": "page_views",
    "event.tracked": "events",
    "metric.recorded": "metrics",
}
Rows = dict[str, dict[str, Any]]


def table(action: Action) -> str:
    """Where an action's fact is kept."""
    return TABLES.get(action.kind, "tracked_events")


def once(actions: Iterable[Action]) -> list[Action]:
    """The first action of each (table, subject, id)."""
    firsts: dict[tuple[str, str, str], Action] = {}
    for action in actions:
        firsts.setdefault((table(action), action.subject, action.id), action)
    return list(firsts.values())


def sessions(actions: Iterable[Action]) -> Rows:
    """The rows of `user_sessions` for actions that name their session, by session id."""
    grouped: dict[str, list[Action]] = defaultdict(list)
    for action in once(actions):
        if action.subject.startswith("session:"):
            grouped[action.subject.removeprefix("session:")].append(action)
    return {session_id: session(session_id, own) for session_id, own in grouped.items()}


def session(session_id: str, actions: list[Action]) -> dict[str, Any]:
    """One session from all of its actions, each counted once."""
    row: dict[str, Any] = {"session_id": session_id, "subject": actions[0].subject}
    row["at"], row["last_at"] = min(a.at for a in actions), max(a.at for a in actions)
    row["received_at"] = min(a.received_at for a in actions)
    row["user_received_at"], row["user_id"] = min(
        ((a.received_at, a.user_id) for a in actions if a.user_id is not None), default=(None, None)
    )
    row["anonymous_id"] = min((a.anonymous_id for a in actions if a.anonymous_id is not None), default=None)
    row["is_bot"] = any(a.flags & 16 for a in actions)
    row["org_id"] = min((a.org_id for a in actions if a.org_id is not None), default=None)
    ended = any(a.kind == "session.ended" and a.at == row["last_at"] for a in actions)
    row["ended_at"] = row["last_at"] if ended else None
    for kind, column in COUNTED.items():
        row[column] = sum(a.kind == kind for a in actions)
    data = [(a, json.loads(a.data)) for a in actions]
    row["last_category_at"], row["last_category"] = max(
        ((a.at, d["category"]) for a, d in data if a.kind == "interaction.recorded"), default=(None, None)
    )
    row |= _device(data) | _configuration(data)
    return row


def _device(data: list[tuple[Action, dict[str, Any]]]) -> dict[str, Any]:
    seen = []
    for action, values in data:
        info = values.get("deviceInfo") or {}
        device = (info.get("type"), info.get("width"), info.get("height"))
        if device != (None, None, None):
            # Of one moment: something is more than nothing, field by field.
            seen.append((action.at, [(value is not None, value) for value in device], device))
    newest = max(seen, default=(None, None, (None, None, None)))
    names = ("device_type", "viewport_width", "viewport_height")
    return {"device_at": newest[0]} | dict(zip(names, newest[2], strict=True))


def _configuration(data: list[tuple[Action, dict[str, Any]]]) -> dict[str, Any]:
    saved = [(a.at, d) for a, d in data if a.kind == "configuration.saved"]
    priced = max(((at, d["totalPrice"]) for at, d in saved if d.get("totalPrice") is not None), default=(None, None))
    shares = [d["completionPercentage"] for _, d in saved if d.get("completionPercentage") is not None]
    complete = [at for at, d in saved if d["trigger"] == "order_attempt" or d.get("completionPercentage") == 100]
    return {
        "priced_at": priced[0],
        "total_price": priced[1],
        "completion_percentage": max(shares, default=None),
        "completed_at": min(complete, default=None),
    }


def visits(actions: Iterable[Action]) -> list[list[str]]:
    """The ids of one visitor's actions, in the order of time, split where more than 30 minutes pass."""
    found: list[list[str]] = []
    last = None
    for action in sorted(actions, key=lambda a: a.at):
        if last is None or action.at - last > timedelta(minutes=30):
            found.append([])
        found[-1].append(action.id)
        last = action.at
    return found
