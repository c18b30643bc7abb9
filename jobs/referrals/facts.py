"""Organisations, their referrals and ledgers from the facts: what was decided then is not decided again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from db import sql
from jobs.family import Difference, StateTable
from jobs.referrals import codes as referral_codes
from jobs.referrals import rows as stored
from jobs.referrals.attribution import Organisation, Referral, Reward, Side
from jobs.referrals.kinds import REWARDED, Rewarded

QUERIES: Final = sql.read("referral_facts")
PREFETCH: Final = 2000
_rewarded: Final = msgspec.json.Decoder(Rewarded)
_outcome: Final = msgspec.json.Decoder(dict[str, Any])


class Held(msgspec.Struct):
    """All that one organisation has: its row, the codes that are its own, its family, its ledger by key."""

    organisation: Organisation | None = None
    codes: list[str] = []
    referral: Referral | None = None
    ledger: dict[str, Reward] = {}


class Organisations:
    """`referral_organizations`, `referral_codes`, `referrals`, `referral_rewards`: keyed by organisation."""

    name = "referral_organizations"

    async def count(self, conn: asyncpg.Connection) -> int:
        """The planner's estimate."""
        number: int = await conn.fetchval(QUERIES["count_referral_organizations"])
        return number

    async def page(self, conn: asyncpg.Connection, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """The next organisations by id."""
        rows = await conn.fetch(QUERIES["page_referral_organizations"], after, limit)
        return [(row["org_id"], f"org:{row['org_id']}") for row in rows]

    async def orphans(self, conn: asyncpg.Connection) -> AsyncIterator[tuple[str, str]]:
        """Organisations that only facts know of."""
        async for row in conn.cursor(QUERIES["orphan_referral_organizations"], prefetch=PREFETCH):
            yield row["org_id"], row["subject"]

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, Held | None]:
        """The rows; None for an organisation that began to arrive before the oldest day of facts."""
        oldest: datetime | None = await conn.fetchval(QUERIES["oldest_referral_day"])
        found: dict[str, Held] = {}
        for row in await conn.fetch(stored.QUERIES["load_referral_organizations"], keys):
            _of(found, row["org_id"]).organisation = Organisation(*row)
        for row in await conn.fetch(referral_codes.QUERIES["codes_of_organizations"], keys):
            _of(found, row["org_id"]).codes.append(row["code"])
        for row in await conn.fetch(stored.QUERIES["load_referrals"], keys):
            _of(found, row["referred_org_id"]).referral = Referral(*row)
        for row in await conn.fetch(QUERIES["referral_ledgers"], keys):
            _enter(_of(found, row["org_id"]), Reward(*row))
        return {key: None if _is_older(held, oldest) else held for key, held in found.items()}

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, Held]:
        """Tell all facts of these organisations again; their order does not matter."""
        found: dict[str, Held] = {}
        rewarded: dict[str, datetime] = {}
        wanted = set(keys)
        async for row in conn.cursor(QUERIES["referral_events_of"], subjects, prefetch=PREFETCH):
            if row["org_id"] in wanted:
                _tell(_of(found, row["org_id"]), rewarded, row)
        for org_id, held in found.items():
            _end(held, rewarded.get(org_id))
        return found

    def differences(self, kept: Held | None, rebuilt: Held | None, now: datetime) -> Sequence[Difference]:
        """Field by field."""
        if kept is None or rebuilt is None:
            return [("(row)", "missing" if kept is None else "there", "there" if rebuilt else "no facts")]
        mine, theirs = _flat(kept), _flat(rebuilt)
        names = sorted(mine.keys() | theirs.keys())
        return [(name, mine.get(name), theirs.get(name)) for name in names if mine.get(name) != theirs.get(name)]

    async def save(self, conn: asyncpg.Connection, rows: Sequence[Held]) -> None:
        """What the facts say takes the place of what was there; a code that was issued is never taken back."""
        await conn.execute(stored.QUERIES["serialise_claims"])
        organisations = [row.organisation for row in rows if row.organisation is not None]
        await self._clear(conn, [org.org_id for org in organisations])
        await stored.save_organisations(conn, organisations)
        await stored.save_referrals(conn, [row.referral for row in rows if row.referral is not None])
        await stored.save_rewards(conn, [reward for row in rows for reward in row.ledger.values()])
        owned = sorted((org.code, org.org_id) for org in organisations if org.code is not None)
        if owned:
            await conn.fetch(referral_codes.QUERIES["claim_referral_codes"], *map(list, zip(*owned, strict=True)))

    async def delete(self, conn: asyncpg.Connection, keys: Sequence[str]) -> None:
        """Organisations without any fact."""
        await self._clear(conn, keys)
        await conn.execute(QUERIES["delete_referral_organizations"], keys)

    async def _clear(self, conn: asyncpg.Connection, keys: Sequence[str]) -> None:
        await conn.execute(QUERIES["delete_referrals"], keys)
        await conn.execute(QUERIES["delete_referral_rewards"], keys)

    def models(self, key: str) -> Iterable[str]:
        """As `Referrals.models` names it."""
        return (stored.model(key),)


TABLES: Final[Sequence[StateTable]] = (Organisations(),)


def _of(found: dict[str, Held], org_id: str) -> Held:
    held = found.get(org_id)
    if held is None:
        held = found[org_id] = Held()
    return held


def _enter(held: Held, reward: Reward) -> None:
    held.ledger[f"{reward.side} of {reward.referred_org_id}"] = reward


def _is_older(held: Held, oldest: datetime | None) -> bool:
    org = held.organisation
    return org is not None and (oldest is None or org.received_at < oldest)


def _tell(held: Held, rewarded: dict[str, datetime], row: asyncpg.Record) -> None:
    """One fact with its decision."""
    org_id, at, received_at = row["org_id"], row["at"], row["received_at"]
    outcome, told = _outcome.decode(row["outcome"]), row["kind"] == REWARDED
    if (org := held.organisation) is None:
        org = held.organisation = Organisation(org_id, received_at)
    org.received_at = min(org.received_at, received_at)
    if (code := outcome.get("code")) is not None:
        org.code, held.codes = code, [code]
    if "qualifiedAt" in outcome:
        org.qualified_at = min(org.qualified_at or at, at)
    if (reward := outcome.get("reward")) is not None:
        whom = _rewarded.decode(row["data"]).referred_org_id if told else org_id
        side: Side = "referrer" if told else "referred"
        _enter(held, Reward(org_id, whom, side, reward["amount"], reward["unit"], received_at))
    elif told and outcome.get("isNew"):
        rewarded[org_id] = at
    if (claimed := outcome.get("referral")) is not None and outcome["isNew"]:
        held.referral = Referral(claimed["referrerOrgId"], org_id, claimed["code"], at)


def _end(held: Held, rewarded_at: datetime | None) -> None:
    """What follows from several facts."""
    if held.referral is not None and held.organisation is not None:
        held.referral.rewarded_at = rewarded_at
        if held.organisation.qualified_at is not None:
            held.referral.completed_at = max(held.referral.created_at, held.organisation.qualified_at)


def _flat(held: Held) -> dict[str, Any]:
    """Every field under a name of its own."""
    found: dict[str, Any] = {"codes": sorted(held.codes)}
    parts: dict[str, msgspec.Struct | None] = {"": held.organisation, "referral.": held.referral}
    parts |= {f"{key}: ": reward for key, reward in held.ledger.items()}
    for prefix, part in parts.items():
        if part is not None:
            found |= {prefix + name: value for name, value in msgspec.structs.asdict(part).items()}
    return found
