"""The ids of a partition's newest subjects, in memory: what is not among them need not be looked up in Postgres.

It can only say "surely new". It is complete for a subject whose first action this task applied itself, and true only as
long as nobody else moves the partition, which the position in Postgres tells at each batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from jobs.action import Action

MOST_IDS: Final = 50_000
"""Ids kept for one partition, about 5 MB. The look-ups that this saves are a third of the drain's time."""


class Seen:
    """Subject -> its ids, the longest untouched subject first."""

    def __init__(self) -> None:
        self._ids: dict[str, set[str]] = {}
        self._size = 0

    def surely_new(self, action: Action) -> bool:
        """Whether this id of this subject was certainly never applied."""
        ids = self._ids.get(action.subject)
        return ids is not None and action.id not in ids

    def learn(self, actions: Iterable[Action], born: Iterable[str]) -> None:
        """After the commit: these were applied; of the subjects in `born` nothing had been applied before."""
        ids = self._ids
        for subject in born:
            ids[subject] = set()
        for action in actions:
            known = ids.get(action.subject)
            if known is not None:
                known.add(action.id)
                self._size += 1
        while self._size > MOST_IDS:
            self._size -= len(ids.pop(next(iter(ids))))

    def clear(self) -> None:
        """Somebody else may have applied actions."""
        self._ids.clear()
        self._size = 0
