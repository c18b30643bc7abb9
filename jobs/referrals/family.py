"""Referrals: the code of an organisation, who came by it, and what both get once the newcomer is qualified.

`referral.signed_up` and `referral.qualified` change the referred organisation. When both are there, it gets its ledger
row, and the referrer is sent a `referral.rewarded`; there the other row is written and the referred organisation told,
which sets the referral to REWARDED.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from jobs import catalog
from jobs.action import Action
from jobs.family import Emitted, Facts, Item, Outcome, Row, StateTable
from jobs.kind import Kind
from jobs.referrals import attribution, codes
from jobs.referrals import facts as referral_facts
from jobs.referrals import rows as stored
from jobs.referrals.attribution import FOLDS, Organisation, Referral, Reward, States
from jobs.referrals.kinds import KINDS, CodeRequested, Rewarded, SignedUp
from jobs.referrals.rows import QUERIES

EVENTS: Final = "referral_events"
_outcome: Final = msgspec.json.Decoder(dict[str, Any])


class Referrals:
    """The family whose subject is an organisation."""

    name = "referral"
    group = "referral"
    kinds: Sequence[Kind] = KINDS
    facts: Sequence[Facts] = (
        Facts(
            EVENTS,
            ("subject", "id", "kind", "user_id", "org_id", "data", "outcome", "at", "received_at", "flags"),
            QUERIES["known_referral_events"],
        ),
    )

    def owns(self, kind: str) -> bool:
        """Whether a kind is of this family."""
        return kind in FOLDS

    def table(self, kind: str) -> Facts:
        """One table for all."""
        return self.facts[0]

    def known(self, row: asyncpg.Record) -> Outcome:
        """What was decided the first time."""
        return _outcome.decode(row["outcome"])

    async def load(self, conn: asyncpg.Connection, items: Sequence[Item]) -> States:
        """The organisations with their referrals and ledgers, and the referrals that their rewards speak of."""
        states = States((await catalog.load(conn)).referrals.rewards)
        own = {action.subject[4:] for _, action, _ in items}
        told = {(p.referrer_org_id, p.referred_org_id) for _, _, p in items if isinstance(p, Rewarded)}
        for row in await conn.fetch(QUERIES["load_referral_organizations"], list(own)):
            states.organisations[row["org_id"]] = Organisation(*row)
        await _claims(conn, states, items)
        for row in await conn.fetch(QUERIES["load_referrals"], list(own | {referred for _, referred in told})):
            states.referrals[row["referred_org_id"]] = Referral(*row)
        ledgers = told | {(org_id, org_id) for org_id in own} | {(referred, referred) for _, referred in told}
        for row in await conn.fetch(QUERIES["load_referral_rewards"], *map(list, zip(*ledgers, strict=True))):
            reward = Reward(*row)
            states.rewards[reward.key] = reward
        return states

    def first_seen(self, states: States, subject: str, since: datetime) -> datetime | None:
        """Every action of an organisation leaves its mark in its row."""
        found = states.organisations.get(subject[4:])
        return None if found is None else found.received_at

    def fold(self, states: States, items: Sequence[Item]) -> Mapping[str, list[Row]]:
        """Decide each action, in order; its fact keeps the decision."""
        rows: list[Row] = []
        for _, action, payload in items:
            outcome = FOLDS[action.kind](payload, states, states.organisation(action), action)
            states.outcomes[id(action)] = outcome
            decided = msgspec.json.encode(outcome).decode()
            org_id, data = action.subject[4:], action.data.decode()
            who = (action.subject, action.id, action.kind, action.user_id, org_id)
            rows.append((*who, data, decided, action.at, action.received_at, action.flags))
        return {EVENTS: rows}

    def outcome(self, states: States, action: Action) -> Outcome:
        """The code, the referral, or why not."""
        return states.outcomes[id(action)]

    def emitted(self, states: States) -> Emitted:
        """What is told to the other side, to destinations, and to those who listen."""
        return states.emitted

    async def save(self, conn: asyncpg.Connection, states: States) -> None:
        """One upsert for each table, ordered by key."""
        await stored.save_organisations(conn, list(states.changed.values()))
        await stored.save_referrals(conn, list(states.changed_referrals.values()))
        await stored.save_rewards(conn, list(states.changed_rewards.values()))

    def models(self, states: States) -> Iterable[tuple[str, bytes]]:
        """The code of an organisation; what else `GET /v1/referrals/code` shows belongs to other partitions."""
        for org in states.changed.values():
            if org.code is not None:
                yield stored.model(org.org_id), msgspec.json.encode({"code": org.code})

    async def model_names(self, conn: asyncpg.Connection, items: Sequence[Item]) -> Iterable[str]:
        """One for each organisation."""
        return [stored.model(action.subject[4:]) for _, action, _ in items]

    def state_tables(self) -> Sequence[StateTable]:
        """Organisations, referrals, the ledger."""
        return referral_facts.TABLES


async def _claims(conn: asyncpg.Connection, states: States, items: Sequence[Item]) -> None:
    """What claims of codes need to know of other partitions, under the one lock that serialises them.

    Two batches must not both see "free": not for a code, and not for A referring B while B refers A. So whoever claims
    waits here for whoever claims at the moment, until its commit; the statements behind the wait see what it wrote.
    No deadlock comes of it. Whoever waits holds its own partition, its own subjects and outbox rows, which nobody who
    holds the lock waits for. Whoever holds it may go on to wait for the courses' lock (their family comes later in
    FAMILIES), and whoever has that one does not come here any more: one order for all. The exception is a batch that
    isolates a poison action, which goes through the families several times. Should two meet in it after all, Postgres
    ends one with 40P01, its whole batch rolls back, and the drain tries it again.
    """
    wanting = {
        action.subject[4:]
        for _, action, payload in items
        if isinstance(payload, CodeRequested) and _lacks_code(states, action.subject[4:])
    }
    claimed = {attribution.normal(p.code) for _, _, p in items if isinstance(p, SignedUp)}
    if not (wanting or claimed):
        return
    await conn.execute(QUERIES["serialise_claims"])
    for row in await conn.fetch(QUERIES["find_referral_codes"], list(claimed)):
        states.codes[row["code"]] = row["org_id"]
    for row in await conn.fetch(QUERIES["load_referrers"], [*states.codes.values(), *wanting]):
        states.referrers[row["referred_org_id"]] = row["referrer_org_id"]
    if wanting:
        # Behind the look at the claimed codes: a code that is asked for in this batch is known from its request on.
        prefix = (await catalog.load(conn)).referrals.prefix
        states.reserved = await codes.claim(conn, prefix, wanting)


def _lacks_code(states: States, org_id: str) -> bool:
    found = states.organisations.get(org_id)
    return found is None or found.code is None
