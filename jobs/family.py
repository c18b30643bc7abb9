"""What a family of actions is to the worker: kinds, fact tables, states to load, a fold, states to save."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

import asyncpg

from jobs.action import Action
from jobs.kind import Kind

Outcome = dict[str, Any]
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """One fact table: `known` is the query that tells which (subject, id) it already holds, with their outcomes.

    known: $1 subjects text[], $2 ids text[], $3 not before timestamptz -> subject, id, kind, the columns of `outcome`.
    """

    table: str
    columns: tuple[str, ...]
    known: str


Item = tuple[Any, Action, Any]
"""One action of a batch: its position in the log, the action, its payload decoded."""


class Effect(NamedTuple):
    """Something that leaves the house: written to the outbox in the applying transaction, delivered at least once."""

    type: str
    """`certificate.issued`: what destinations choose by."""
    id: str
    """Stable over every replay, unique within the subject."""
    subject: str
    at: datetime
    data: dict[str, Any]
    """What a receiver gets, JSON."""
    order: str | None = None
    """Effects of one key reach a destination in their order."""


class Refusal(NamedTuple):
    """An action that the fold cannot take, now: no fact, no state, a dead letter that can be retried."""

    action: Action
    code: str
    message: str


class Live(NamedTuple):
    """A snapshot for those of a subject who listen at the moment.

    `body` makes its JSON of the states as the fold left them: it is asked behind the commit, and only if somebody
    listens, since nearly always nobody does.
    """

    subject: str
    event: str
    body: Callable[[], bytes]


@dataclass(slots=True)
class Emitted:
    """What a fold wants beyond facts and states."""

    effects: list[Effect] = field(default_factory=list)
    follow_ups: list[Action] = field(default_factory=list)
    """Actions for other subjects; the log gets them after the commit. Every replay gives the same ids, which begin with
    `OURS`."""
    refused: list[Refusal] = field(default_factory=list)
    deferred: list[Action] = field(default_factory=list)
    """Actions that `save` keeps elsewhere until something is known: no fact and no answer yet, they come again."""
    live: list[Live] = field(default_factory=list)


NOTHING: Final = Emitted()
"""For families that emit nothing; never to be added to."""


Difference = tuple[str, Any, Any]
"""What a check found: field, kept value, rebuilt value."""


class StateTable(Protocol):
    """One table of states and how its rows come from the facts: what `python -m jobs rebuild` drives.

    A row is found by its key and belongs to a subject. Nothing here commits, and nothing keeps more than one chunk.
    """

    name: str

    async def count(self, conn: asyncpg.Connection) -> int:
        """How many rows there are, about."""

    async def page(self, conn: asyncpg.Connection, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """(key, subject) of the next rows behind the key `after`, in order; its first page is behind ''."""

    def orphans(self, conn: asyncpg.Connection) -> AsyncIterator[tuple[str, str]]:
        """(key, subject) of facts whose state row is missing; inside a transaction."""

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, Any]:
        """The rows as they are; of those whose facts retention has dropped, in part or all, None."""

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, Any]:
        """The rows as the facts say, folded as the worker does; inside a transaction."""

    def differences(self, kept: Any, rebuilt: Any, now: datetime) -> Sequence[Difference]:
        """The fields that are not as they should be; either may be missing (None)."""

    async def save(self, conn: asyncpg.Connection, rows: Sequence[Any]) -> None:
        """Write rows in one statement, ordered by key."""

    async def delete(self, conn: asyncpg.Connection, keys: Sequence[str]) -> None:
        """Remove rows that no fact speaks of."""

    def models(self, key: str) -> Iterable[str]:
        """The names of the read models that a row of the last chunk is shown in."""


class OfNobody:
    """What tables of numbers that belong to nobody share in a rebuild: `page` names all rows, no read model has one."""

    async def count(self, conn: asyncpg.Connection) -> int:
        """Unknown before it is looked."""
        return 0

    async def orphans(self, conn: asyncpg.Connection) -> AsyncIterator[tuple[str, str]]:
        """None."""
        for pair in tuple[tuple[str, str], ...]():
            yield pair

    def models(self, key: str) -> Iterable[str]:
        """None."""
        return ()


class Family(Protocol):
    """A package in `jobs/` provides one; `worker/apply.py` drives it, in the transaction of `worker/batch.py`.

    `load` and `save` run one query per table for the whole batch; `fold` is pure: it reads and changes the states of
    this batch only. Applying the same actions in any split gives the same facts and states.
    """

    name: str
    group: str
    """The family of the contract that this one is a part of: `progress` of onboarding and courses."""
    kinds: Sequence[Kind]
    facts: Sequence[Facts]

    def owns(self, kind: str) -> bool:
        """Whether a kind is of this family."""

    def table(self, kind: str) -> Facts:
        """The table that holds the facts of `kind`."""

    def known(self, row: asyncpg.Record) -> Outcome:
        """The first outcome of an action, from the fact that `Facts.known` found."""

    async def load(self, conn: asyncpg.Connection, items: Sequence[Item]) -> Any:
        """The states that these actions touch."""

    def first_seen(self, states: Any, subject: str, since: datetime) -> datetime | None:
        """The arrival before which no action of a subject can lie, as far as `states` tell, else `since`.

        None: there is none of it at all, so that nothing needs to be looked up.
        """

    def fold(self, states: Any, items: Sequence[Item]) -> Mapping[str, list[Row]]:
        """Apply the actions, in order, to `states`; the facts' rows by table."""

    def outcome(self, states: Any, action: Action) -> Outcome:
        """What the fold said of an action that it has just applied."""

    def emitted(self, states: Any) -> Emitted:
        """What else the fold wants: effects, follow-up actions, refusals, live snapshots. Asked before `save`."""

    async def save(self, conn: asyncpg.Connection, states: Any) -> None:
        """Write the changed states in one statement per table, ordered by key."""

    def models(self, states: Any) -> Iterable[tuple[str, bytes]]:
        """Read models of the changed states: name, body."""

    async def model_names(self, conn: asyncpg.Connection, items: Sequence[Item]) -> Iterable[str]:
        """Names of the read models that these applied actions may have changed."""

    def state_tables(self) -> Sequence[StateTable]:
        """Every table of states, for `python -m jobs rebuild`."""


def index(families: Iterable[Family]) -> Mapping[str, tuple[Family, Kind]]:
    """kind -> (family, kind); a kind that stands twice raises ValueError."""
    found: dict[str, tuple[Family, Kind]] = {}
    for family in families:
        for kind in family.kinds:
            if kind.name in found:
                raise ValueError(f"kind {kind.name} stands twice")
            found[kind.name] = (family, kind)
    return found
