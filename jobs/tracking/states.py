"""The sessions that a batch touches, and how an action finds its own."""

from __future__ import annotations

from typing import Final

import msgspec

from jobs.action import Action
from jobs.family import Row
from jobs.tracking import session as fold
from jobs.tracking.session import Session

AUTO: Final = "auto:"
"""Prefix of the ids of sessions that we open for a visitor; clients cannot send one."""


class States:
    """The sessions that one batch touches; `visits` groups those of visitors by their subject."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.visits: dict[str, list[Session]] = {}
        self.changed: dict[str, Session] = {}
        self.named: dict[str, Session] = {}
        """By subject, those of `changed` that clients have named: found again without another look."""
        self.metrics: list[Row] = []
        self.given: dict[int, str] = {}
        """id() of a visitor's action of this batch -> its session, which later ones of the batch must not change."""

    def add(self, session: Session) -> Session:
        """Take a session of a visitor in."""
        self.sessions[session.session_id] = session
        self.visits.setdefault(session.subject, []).append(session)
        return session

    def session(self, action: Action) -> Session | None:
        """The session of an action, opened if need be, and changed now; None for a metric that belongs to none."""
        subject = action.subject
        if subject.startswith("session:"):
            key = subject[8:]
            found = self.sessions.get(key) or fold.opened(action, key)
            self.sessions[key] = self.named[subject] = self.changed[key] = found
            return found
        if subject.startswith("metric:"):
            return None
        near = fold.assign(self.visits.get(subject, ()), action)
        if near is None:
            near = f"{AUTO}{subject}@{int(action.at.timestamp() * 1000)}"
            self.add(fold.opened(action, near))
        self.given[id(action)] = near
        found = self.changed[near] = self.sessions[near]
        return found


def encode(session: Session) -> bytes:
    """The read model of a session: JSON, camelCase, times in RFC 3339 UTC."""
    return msgspec.json.encode(session)
