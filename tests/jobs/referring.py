"""Actions of organisations for tests, and what must become of them, reckoned anew from the contract."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import asyncpg

from db.stream import START as NOWHERE
from jobs.action import Action
from jobs.families import BY_KIND
from jobs.family import Item
from jobs.referrals import codes
from jobs.referrals import facts as referral_facts
from tests.jobs.making import NOW, START


def make(
    action_id: str,
    org: str,
    kind: str,
    data: dict[str, Any] | None = None,
    *,
    at: datetime = START,
    received_at: datetime = NOW,
    reply: str | None = None,
) -> Action:
    """An action of an organisation as the door makes it; `kind` without its family."""
    body = json.dumps(data or {}).encode()
    return Action(action_id, f"referral.{kind}", f"org:{org}", at, received_at, 0, body, org_id=org, reply=reply)


def code_of(org: str) -> str:
    """The code that an organisation gets when no other has taken it."""
    return codes.candidate("CLIP", org, 0)


def items(actions: Iterable[Action]) -> list[Item]:
    """Actions as a batch has them."""
    return [(NOWHERE, action, BY_KIND[action.kind][1].decoder.decode(action.data)) for action in actions]


async def state(conn: asyncpg.Connection | asyncpg.Pool) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of the family, and what went into the outbox."""
    queries = {
        "organisations": "SELECT org_id, code, qualified_at, received_at FROM referral_organizations",
        "codes": "SELECT code, org_id FROM referral_codes",
        "referrals": "SELECT referred_org_id, referrer_org_id, code, status::text, created_at, completed_at, "
        "rewarded_at IS NOT NULL FROM referrals",
        "rewards": "SELECT org_id, referred_org_id, side, amount, unit FROM referral_rewards",
        "effects": "SELECT subject, id, type FROM effects",
    }
    return {name: sorted(map(tuple, await conn.fetch(query))) for name, query in queries.items()}


async def rebuilt_differences(conn: asyncpg.Connection) -> dict[str, Any]:
    """What `python -m jobs rebuild --check` would find."""
    (table,) = referral_facts.TABLES
    rows = await table.page(conn, "", 10_000)
    rows = [*rows, *[row async for row in table.orphans(conn)]]
    keys, subjects = [key for key, _ in rows], [subject for _, subject in rows]
    kept, again = await table.kept(conn, keys), await table.rebuilt(conn, keys, subjects, NOW)
    return {key: found for key in keys if (found := table.differences(kept.get(key), again.get(key), NOW))}
