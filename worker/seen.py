"""The ids of a partition's newest subjects, in memory: what is not among them need not be looked up in Postgres.

It can only say "surely new". It is complete for a subject whose first action this task applied itself, and true only as
long as nobody else moves the partition, which the position in Postgres tells at each batch.
"""

from __future__ import annotations

from collections.abc import Collection, Container
from typing import Final

from jobs.action import Action

MOST_IDS: Final = 50_000
"""Ids kept for one partition, about 5 MB. The look-ups that this saves are a third of the drain's time."""


class _Any:
    """All ids there are."""

    def __contains__(self, _: object) -> bool:
        return True


ANY: Final = _Any()


class Seen:
    """Subject -> its ids, the longest untouched subject first."""

    def __init__(self) -> None:
        self._ids: dict[str, set[str]] = {}
        self._size = 0

    def of(self, subject: str) -> Container[str]:
        """The ids of a subject that may have been applied: all others certainly never were."""
        return self._ids.get(subject, ANY)

    def learn(self, actions: Collection[Action], born: Collection[str]) -> None:
        """After the commit: these were applied; of the subjects in `born` nothing had been applied before."""
        ids = self._ids
        for subject in born:
            ids[subject] = set()
        own = [(known, action.id) for action in actions if (known := ids.get(action.subject)) is not None]
        for known, action_id in own:
            known.add(action_id)
        self._size += len(own)
        while self._size > MOST_IDS:
            self._size -= len(ids.pop(next(iter(ids))))

    def clear(self) -> None:
        """Somebody else may have applied actions."""
        self._ids.clear()
        self._size = 0
