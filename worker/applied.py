"""A batch in the worker's hands: its actions, and what applying them did."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from db.stream import Position
from jobs.action import Action
from jobs.family import Effect, Live, Outcome
from worker.dead_letters import DeadLetter

Item = tuple[Position, Action, msgspec.Struct]
"""One action of a batch with its payload decoded: a plain tuple, since one is made for every action."""


class Reply(NamedTuple):
    """An outcome for a request that waits: `to` is the action's `reply`."""

    to: str
    outcome: Outcome
    duplicate: bool


@dataclass(slots=True)
class Applied:
    """What one batch did; all of it is committed or none."""

    position: Position
    generation: str = ""
    items: list[Item] = field(default_factory=list)
    entries: int = 0
    oldest: datetime | None = None
    """When the first of the items arrived, if there are any."""
    fresh: list[Action] = field(default_factory=list)
    duplicates: list[Action] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    erased: int = 0
    """Actions that were dropped, because whose they are was erased."""
    replies: list[Reply] = field(default_factory=list)
    models: list[tuple[str, bytes]] = field(default_factory=list)
    born: dict[str, list[str]] = field(default_factory=dict)
    """Family -> the subjects of which it had applied nothing before."""
    live: list[Live] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    follow_ups: list[Action] = field(default_factory=list)
    deliveries: list[UUID] = field(default_factory=list)
    """Rows of the outbox to enqueue after the commit."""

    def take(self, other: Applied) -> None:
        """Add what a part of the batch did."""
        self.fresh += other.fresh
        self.duplicates += other.duplicates
        self.replies += other.replies
        self.models += other.models
        for family, subjects in other.born.items():
            self.born.setdefault(family, []).extend(subjects)
        self.dead += other.dead
        self.live += other.live
        self.effects += other.effects
        self.follow_ups += other.follow_ups
        self.deliveries += other.deliveries
