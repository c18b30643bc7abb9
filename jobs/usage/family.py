"""Usage: what is counted, the limits it is held against, and the plans that set them. Its subject is a user or an
organisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import asyncpg
import msgspec

from jobs.action import Action
from jobs.catalog import Catalog
from jobs.family import Emitted, Facts, Item, Live, Outcome, Refusal, Row, StateTable
from jobs.kind import Kind
from jobs.usage import facts as usage_facts
from jobs.usage import records, view
from jobs.usage import states as usage_states
from jobs.usage.fold import FOLDS
from jobs.usage.kinds import KINDS
from jobs.usage.model import Model
from jobs.usage.plans import Plans
from jobs.usage.refusal import Refused
from jobs.usage.rollups import Rollups
from jobs.usage.rows import QUERIES
from jobs.usage.states import States

RECORDS: Final = "usage_records"
_outcome: Final = msgspec.json.Decoder(dict[str, Any])


class Usage:
    """The family of metering."""

    name = "usage"
    group = "usage"
    kinds: Sequence[Kind] = KINDS
    facts: Sequence[Facts] = (Facts(RECORDS, records.COLUMNS, QUERIES["known_usage_records"]),)

    def owns(self, kind: str) -> bool:
        """Whether a kind is of this family."""
        return kind in FOLDS

    def table(self, kind: str) -> Facts:
        """One table for all."""
        return self.facts[0]

    def known(self, row: asyncpg.Record) -> Outcome:
        """What was said the first time."""
        if row["outcome"] is not None:
            return _outcome.decode(row["outcome"])
        return records.recorded_outcome(row["action"], row["booked"], row["period_start"], row["period_end"])

    async def load(self, conn: asyncpg.Connection, items: Sequence[Item]) -> States:
        """One query per table, and the plans."""
        return await usage_states.load(conn, items)

    def first_seen(self, states: States, subject: str, since: datetime) -> datetime | None:
        """Every fact of a subject, denials too, leaves it an account."""
        found = states.accounts.get(subject)
        return None if found is None else found.first_at

    def fold(self, states: States, items: Sequence[Item]) -> Mapping[str, list[Row]]:
        """Apply each action, in order; its fact keeps what was decided."""
        rows: list[Row] = []
        accounts = states.accounts
        for _, action, payload in items:
            subject = action.subject
            account = accounts.get(subject) or usage_states.opened(states, action)
            try:
                rows.append(FOLDS[action.kind](states, account, action, payload))
            except Refused as refused:
                states.emitted.refused.append(Refusal(action, refused.code, str(refused)))
                continue
            if subject not in accounts or action.received_at < account.first_at:
                account.first_at = min(account.first_at, action.received_at)
                accounts[subject] = states.changed_accounts[subject] = account
        return {RECORDS: rows}

    def outcome(self, states: States, action: Action) -> Outcome:
        """The decision, or what was counted in which period."""
        return states.outcomes[id(action)]

    def emitted(self, states: States) -> Emitted:
        """Notices of thresholds, what cannot be taken, and the view as it is now."""
        states.models = view.changed(states)
        # Not the states themselves: what they hold through themselves only a collection frees, and that stops the loop.
        states.emitted.live = [
            Live(subject, "usage", partial(_view, model, states.plans, states.catalog, states.latest[subject]))
            for subject, model in states.models.items()
        ]
        return states.emitted

    async def save(self, conn: asyncpg.Connection, states: States) -> None:
        """One upsert per table, ordered by key."""
        await usage_states.save(conn, states)

    def models(self, states: States) -> Iterable[tuple[str, bytes]]:
        """One for each subject."""
        return view.written(states)

    async def model_names(self, conn: asyncpg.Connection, items: Sequence[Item]) -> Iterable[str]:
        """One for each subject."""
        return {view.name(action.subject) for _, action, _ in items}

    def state_tables(self) -> Sequence[StateTable]:
        """Accounts with their counters and reservations, and what is added up of them."""
        return *usage_facts.tables(), Rollups()


def _view(model: Model, held: Plans, catalog: Catalog, now: datetime) -> bytes:
    return msgspec.json.encode(view.view(model, held, catalog, now))
