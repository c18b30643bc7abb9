"""Onboarding: what users do for the first time, and the steps of their checklist. The subject is the user."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from typing import Any, Final

import asyncpg
import msgspec

from jobs import catalog as catalogs
from jobs.action import OURS, Action
from jobs.catalog import Catalog
from jobs.family import Effect, Emitted, Facts, Item, Live, Outcome, Row, StateTable
from jobs.kind import Kind
from jobs.onboarding import checklist as fold
from jobs.onboarding import days, rebuilt_days
from jobs.onboarding import facts as onboarding_facts
from jobs.onboarding import rows as stored
from jobs.onboarding.checklist import Checklist
from jobs.onboarding.kinds import COMPLETED, DONE, KINDS, SKIPPED, ActionCompleted, StepCompleted, StepSkipped

_COLUMNS: Final = (
    *("subject", "id", "kind", "user_id", "org_id", "data", "outcome", "qualifies"),
    *("at", "received_at", "flags"),
)


class States:
    """The checklists of the users that one batch touches, and what it makes of them."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.users: dict[str, Checklist] = {}
        self.changed: set[str] = set()
        self.days: set[date | None] = set()
        """On which the changed users began, as they were before."""
        self.outcomes: dict[int, Outcome] = {}
        """id() of an action of this batch -> what was said of it."""
        self.effects: list[Effect] = []
        self.qualified: dict[tuple[str, str], Action] = {}
        """(user, organisation) -> the newest cause of news about it."""

    def user(self, user_id: str) -> Checklist:
        """A user's checklist, empty at first."""
        found = self.users.get(user_id)
        if found is None:
            found = self.users[user_id] = Checklist(user_id)
        return found


class Onboarding:
    """The family whose subject is a user on the way into the product."""

    name = "onboarding"
    group = "progress"
    kinds: Sequence[Kind] = KINDS
    facts: Sequence[Facts] = (Facts("onboarding_events", _COLUMNS, stored.QUERIES["known_onboarding_events"]),)

    def owns(self, kind: str) -> bool:
        """Whether a kind is of this family."""
        return kind in FOLDS

    def table(self, kind: str) -> Facts:
        """One table for all kinds."""
        return self.facts[0]

    def known(self, row: asyncpg.Record) -> Outcome:
        """What was said the first time."""
        found: Outcome = msgspec.json.decode(row["outcome"])
        return found

    async def load(self, conn: asyncpg.Connection, items: Sequence[Item]) -> States:
        """The checklists of these users, and the catalog."""
        states = States(await catalogs.load(conn))
        states.users = await stored.load(conn, sorted({_user(action) for _, action, _ in items}))
        return states

    def first_seen(self, states: States, subject: str, since: datetime) -> datetime | None:
        """Every action leaves a row that knows its arrival."""
        checklist = states.users.get(subject[5:])
        return None if checklist is None else checklist.first_received()

    def fold(self, states: States, items: Sequence[Item]) -> Mapping[str, list[Row]]:
        """Apply each action to its user's checklist; the facts keep what was said."""
        rows: list[Row] = []
        for _, action, payload in items:
            user_id = _user(action)
            checklist = states.user(user_id)
            if user_id not in states.changed:
                states.changed.add(user_id)
                states.days.add(days.begun(checklist))
            outcome, qualifies = FOLDS[action.kind](states, checklist, payload, action)
            states.outcomes[id(action)] = outcome
            rows.append(_row(action, user_id, outcome, qualifies))
        return {self.facts[0].table: rows}

    def outcome(self, states: States, action: Action) -> Outcome:
        """`isFirstTime` and the progress; of a step the status."""
        return states.outcomes[id(action)]

    def emitted(self, states: States) -> Emitted:
        """First times, organisations that qualify, and the progress for who listens."""
        follow_ups = [_qualified(states, *key, cause) for key, cause in sorted(states.qualified.items(), key=_key)]
        live = [Live(f"user:{user}", "onboarding", partial(_told, states, user)) for user in sorted(states.changed)]
        return Emitted(effects=states.effects, follow_ups=follow_ups, live=live)

    async def save(self, conn: asyncpg.Connection, states: States) -> None:
        """One upsert for each table, and a note of the days whose users changed."""
        changed = [states.users[user] for user in sorted(states.changed)]
        await stored.save(conn, changed)
        touched = states.days.union(map(days.begun, changed))
        await days.note(conn, {day for day in touched if day is not None})

    def models(self, states: States) -> Iterable[tuple[str, bytes]]:
        """The checklist; the API tells it in the words of the catalog of the moment."""
        for user in states.changed:
            yield stored.model_name(user), fold.encode(states.users[user])

    async def model_names(self, conn: asyncpg.Connection, items: Sequence[Item]) -> Iterable[str]:
        """Those of the users."""
        return {stored.model_name(_user(action)) for _, action, _ in items}

    def state_tables(self) -> Sequence[StateTable]:
        """The checklists, and what is counted of them."""
        return onboarding_facts.Checklists(), rebuilt_days.Days()


def _user(action: Action) -> str:
    return action.subject[5:]


def _key(item: tuple[tuple[str, str], Action]) -> tuple[str, str]:
    return item[0]


def _row(action: Action, user_id: str, outcome: Outcome, qualifies: bool) -> Row:
    told = msgspec.json.encode(outcome).decode()
    return (
        *(action.subject, action.id, action.kind, user_id, action.org_id, action.data.decode(), told, qualifies),
        *(action.at, action.received_at, action.flags),
    )


def _done(states: States, checklist: Checklist, p: ActionCompleted, a: Action) -> tuple[Outcome, bool]:
    is_first = fold.do(checklist, p.action, a)
    if is_first:
        states.effects.append(_first(checklist.user_id, p, a))
    qualifies = a.org_id is not None and p.action == states.catalog.referrals.qualifying_action
    if qualifies and a.org_id is not None and fold.qualify(checklist, a.org_id, a):
        states.qualified[checklist.user_id, a.org_id] = a
    return {"isFirstTime": is_first, "progress": fold.progress(checklist, states.catalog.onboarding)}, qualifies


def _completed(states: States, checklist: Checklist, p: StepCompleted, a: Action) -> tuple[Outcome, bool]:
    fold.close(checklist, p.step, a, skipped=False, seconds=p.time_spent_seconds)
    return {"status": fold.status(checklist, states.catalog.onboarding)}, False


def _skipped(states: States, checklist: Checklist, p: StepSkipped, a: Action) -> tuple[Outcome, bool]:
    fold.close(checklist, p.step, a, skipped=True, seconds=p.time_spent_seconds)
    return {"status": fold.status(checklist, states.catalog.onboarding)}, False


# Values stay the text that they are: numbers of any length, to be written again as they came.
_metadata: Final = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode
FOLDS: Final[Mapping[str, Callable[[States, Checklist, Any, Action], tuple[Outcome, bool]]]] = {
    DONE: _done,
    COMPLETED: _completed,
    SKIPPED: _skipped,
}


def _first(user_id: str, p: ActionCompleted, a: Action) -> Effect:
    """Told once for each user and action: its id is its type. It carries the metadata, and our own fields beside it."""
    name = f"first_{p.action}"
    metadata = _metadata(p.metadata) if p.metadata else None
    data = {**(metadata or {}), "userId": user_id, "orgId": a.org_id, "projectId": p.project_id, "action": p.action}
    return Effect(name, name, a.subject, a.at, data, order=a.subject)


def _qualified(states: States, user_id: str, org_id: str, cause: Action) -> Action:
    """The organisation's own action. Its id is made of user and time: an earlier time is another action."""
    at = states.users[user_id].organizations[org_id].qualified_at
    made = hashlib.sha256(f"{user_id}\n{at.isoformat()}".encode()).hexdigest()[:32]
    action_id, subject, kind = f"{OURS}qualified:{made}", f"org:{org_id}", "referral.qualified"
    return Action(action_id, kind, subject, at, cause.received_at, 0, b"{}", user_id=user_id, org_id=org_id)


def _told(states: States, user_id: str) -> bytes:
    checklist, catalog = states.users[user_id], states.catalog.onboarding
    return msgspec.json.encode(fold.progress(checklist, catalog) | {"status": fold.status(checklist, catalog)})
