"""The state of a session, and the pure functions that fold actions into it.

Every rule is a sum, a minimum, a maximum, or "the newest `at` wins, ties by value" (the user is the first by arrival):
neither order nor batching of a session's actions can change the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from jobs.action import BOT, Action

IDLE: Final = timedelta(minutes=30)
Device = tuple[str | None, int | None, int | None]
NO_DEVICE: Final[Device] = (None, None, None)


class Session(msgspec.Struct, rename="camel"):
    """One row of `user_sessions`; the fields are its columns, in order."""

    session_id: str
    subject: str
    at: datetime
    last_at: datetime
    received_at: datetime
    user_id: str | None = None
    user_received_at: datetime | None = None
    anonymous_id: str | None = None
    org_id: str | None = None
    ended_at: datetime | None = None
    interactions: int = 0
    snapshots: int = 0
    page_views: int = 0
    events: int = 0
    metrics: int = 0
    device_type: str | None = None
    viewport_width: int | None = None
    viewport_height: int | None = None
    device_at: datetime | None = None
    last_category: str | None = None
    last_category_at: datetime | None = None
    total_price: float | None = None
    priced_at: datetime | None = None
    completion_percentage: float | None = None
    completed_at: datetime | None = None
    is_bot: bool = False
    """A declared bot was in it."""


COLUMNS: Final = Session.__struct_fields__


def opened(action: Action, session_id: str) -> Session:
    """A session that this action opens; the action itself is not folded in yet."""
    return Session(session_id, action.subject, action.at, action.at, action.received_at)


def assign(sessions: Sequence[Session], action: Action) -> str | None:
    """The visitor's session that lies within 30 minutes of the action, the earliest if several; None: a new one.

    A late action that would join two sessions leaves them two: facts keep the session they were given.
    """
    at = action.at
    near = [s for s in sessions if s.at - IDLE <= at <= s.last_at + IDLE]
    return min(near, key=lambda s: (s.at, s.session_id)).session_id if near else None


def touch(session: Session, action: Action) -> None:
    """What every action of a session does: its span, its ids, and that it is open again."""
    # Compared by hand: min() and max() took half of this, which runs for every action.
    at, received_at = action.at, action.received_at
    if at > session.last_at:
        session.last_at = at
    elif at < session.at:
        session.at = at
    session.received_at = min(session.received_at, received_at)
    if session.ended_at is not None and at > session.ended_at:
        session.ended_at = None
    if action.flags & BOT:
        session.is_bot = True
    user, held = action.user_id, session.user_received_at
    # by arrival, not by `at`: nobody who learns a session's id can take it over with a time of their choice
    if user is not None and (held is None or (received_at, user) < (held, session.user_id or "")):
        session.user_id, session.user_received_at = user, received_at
    if action.anonymous_id is not None:
        session.anonymous_id = min(session.anonymous_id or action.anonymous_id, action.anonymous_id)
    if action.org_id is not None:
        session.org_id = min(session.org_id or action.org_id, action.org_id)


def end(session: Session, at: datetime) -> None:
    """`session.ended`: it holds unless something happened later."""
    if at >= session.last_at:
        session.ended_at = at


def interact(session: Session, at: datetime, category: str) -> None:
    """An interaction: counted; the newest category is where a session stops."""
    session.interactions += 1
    newest = session.last_category_at
    if newest is None or at > newest or (at == newest and category > (session.last_category or "")):
        session.last_category, session.last_category_at = category, at


def device(session: Session, at: datetime, seen: Device) -> None:
    """The newest device: type, width and height of the viewport. One that says nothing leaves no fact."""
    if seen == NO_DEVICE:
        return
    newest = session.device_at
    if newest is not None and at <= newest:
        held = (session.device_type, session.viewport_width, session.viewport_height)
        if at < newest or seen == held or _ordered(seen) <= _ordered(held):
            return
    session.device_type, session.viewport_width, session.viewport_height = seen
    session.device_at = at


def _ordered(seen: Device) -> tuple[bool, str, int, int]:
    kind, width, height = seen
    return (kind is not None, kind or "", -1 if width is None else width, -1 if height is None else height)


def snapshot(session: Session, at: datetime, price: float | None, percentage: float | None, ordered: bool) -> None:
    """A configuration: the newest price, the largest percentage, and the first time that it was complete."""
    session.snapshots += 1
    if price is not None and (session.priced_at is None or (at, price) > (session.priced_at, session.total_price or 0)):
        session.total_price, session.priced_at = price, at
    if percentage is not None:
        session.completion_percentage = max(session.completion_percentage or 0.0, percentage)
    if ordered or (percentage or 0) >= 100:
        session.completed_at = min(session.completed_at or at, at)
