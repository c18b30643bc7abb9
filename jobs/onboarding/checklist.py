"""What a user has done of the onboarding, and how it is told.

Every rule is a minimum, a maximum or a sum over distinct actions, so that the order in which they arrive does not
matter. What is kept does not depend on the catalog, only the telling does.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from jobs.action import Action
from jobs.catalog import DONE, Onboarding

BEFORE: Final = ""
"""Sorts before every organisation: ids have one character at least."""


class Done(msgspec.Struct, gc=False):
    """One action of one user: when first, when last, how often; `received_at`: when the first of it arrived."""

    first_at: datetime
    last_at: datetime
    count: int
    received_at: datetime


class Closed(msgspec.Struct, gc=False):
    """One step that a user has completed or skipped; a step that is pending has none."""

    completed_at: datetime | None
    skipped_at: datetime | None
    time_spent_seconds: int | None
    org_id: str | None
    org_at: datetime | None
    """When the newest action of the step that names an organisation happened: `org_id` is its."""
    created_at: datetime
    updated_at: datetime
    received_at: datetime

    @property
    def status(self) -> str:
        """Skipped may become completed, never back."""
        return "skipped" if self.completed_at is None else "completed"

    @property
    def closed_at(self) -> datetime | None:
        """When the step was done with."""
        return self.skipped_at if self.completed_at is None else self.completed_at


class Qualified(msgspec.Struct, gc=False):
    """Since when a user's actions qualify an organisation for its referral."""

    qualified_at: datetime
    received_at: datetime


class Checklist(msgspec.Struct):
    """All that is kept of one user; also the read model."""

    user_id: str
    actions: dict[str, Done] = {}
    steps: dict[str, Closed] = {}
    organizations: dict[str, Qualified] = {}

    def first_received(self) -> datetime | None:
        """Before this arrival there is no action of the user; None: there is none at all."""
        arrivals = [row.received_at for row in self.actions.values()]
        arrivals += [row.received_at for row in self.steps.values()]
        arrivals += [row.received_at for row in self.organizations.values()]
        return min(arrivals, default=None)


def do(checklist: Checklist, name: str, action: Action) -> bool:
    """Count an action; whether it is the first of its name to be applied."""
    at, received_at = action.at, action.received_at
    done = checklist.actions.get(name)
    if done is None:
        checklist.actions[name] = Done(at, at, 1, received_at)
        return True
    done.first_at, done.last_at = min(done.first_at, at), max(done.last_at, at)
    done.count += 1
    done.received_at = min(done.received_at, received_at)
    return False


def close(checklist: Checklist, step: str, action: Action, *, skipped: bool, seconds: float | None) -> None:
    """Complete or skip a step. `seconds` spent on it: whole ones, half up, so that their sum has no order."""
    at = action.at
    row = checklist.steps.get(step)
    if row is None:
        row = checklist.steps[step] = Closed(None, None, None, None, None, at, at, action.received_at)
    if skipped:
        row.skipped_at = _earlier(row.skipped_at, at)
    else:
        row.completed_at = _earlier(row.completed_at, at)
    if seconds is not None:
        row.time_spent_seconds = (row.time_spent_seconds or 0) + int(seconds + 0.5)
    row.created_at, row.updated_at = min(row.created_at, at), max(row.updated_at, at)
    row.received_at = min(row.received_at, action.received_at)
    if action.org_id is not None and (row.org_at is None or (row.org_at, row.org_id or BEFORE) < (at, action.org_id)):
        row.org_at, row.org_id = at, action.org_id


def qualify(checklist: Checklist, org_id: str, action: Action) -> bool:
    """An action that qualifies its organisation; whether that is news: a new one, or an earlier time."""
    found = checklist.organizations.get(org_id)
    if found is None:
        checklist.organizations[org_id] = Qualified(action.at, action.received_at)
        return True
    is_earlier = action.at < found.qualified_at
    found.qualified_at = min(found.qualified_at, action.at)
    found.received_at = min(found.received_at, action.received_at)
    return is_earlier


def _earlier(held: datetime | None, at: datetime) -> datetime:
    return at if held is None or at < held else held


def percentage(part: int, whole: int) -> int:
    """0 to 100, half up: floor(x + 0.5) in whole numbers; 12.5 is 13."""
    return (200 * part + whole) // (2 * whole)


def progress(checklist: Checklist, catalog: Onboarding) -> dict[str, Any]:
    """The body of GET /v1/onboarding/progress: the fields that the catalog names."""
    held = [(one, checklist.actions.get(one.action)) for one in catalog.actions]
    body: dict[str, Any] = {"userId": checklist.user_id}
    body.update((one.flag, done is not None) for one, done in held)
    body.update((one.first_at, done and done.first_at) for one, done in held)
    for one, done in held:
        if one.counter is not None:
            body[one.counter] = done.count if done else 0
        if one.last_at is not None:
            body[one.last_at] = done and done.last_at
    body["completionPercentage"] = percentage(sum(done is not None for _, done in held), len(held))
    return body


def status(checklist: Checklist, catalog: Onboarding) -> dict[str, Any]:
    """The body of GET /v1/onboarding/status.

    `completed`: no step is pending; `skipped`: and one of them was skipped; `completedAt`: when the last was closed.
    """
    rows = [(step, checklist.steps.get(step)) for step in catalog.steps]
    current = next((step for step, row in rows if row is None), DONE)
    closed = [row for _, row in rows if row is not None]
    number = sum(row.completed_at is not None for row in closed)
    ended = max((at for row in closed if (at := row.closed_at)), default=None)
    return {
        "currentStep": current,
        "completed": current == DONE,
        "completedAt": ended if current == DONE else None,
        "skipped": current == DONE and number < len(rows),
        "percentage": percentage(number, len(rows)),
        "steps": [_step(step, row) for step, row in rows],
    }


def pending(checklist: Checklist, catalog: Onboarding) -> list[str]:
    """The steps that are neither completed nor skipped, in their order."""
    return [step for step in catalog.steps if step not in checklist.steps]


def _step(step: str, row: Closed | None) -> dict[str, Any]:
    if row is None:
        return {"step": step, "status": "pending", "completedAt": None, "timeSpentSeconds": None}
    return {
        "step": step,
        "status": row.status,
        "completedAt": row.completed_at,
        "timeSpentSeconds": row.time_spent_seconds,
    }


_decoder: Final = msgspec.json.Decoder(Checklist)
encode: Final = msgspec.json.Encoder().encode
"""A checklist as the read model that `decode` reads."""
decode: Final = _decoder.decode
