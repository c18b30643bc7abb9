"""Organisations, referrals and the ledger as rows: written in one statement for each table, ordered by key."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Final

import asyncpg
import msgspec

from db import sql
from jobs.referrals.attribution import Organisation, Referral, Reward

QUERIES: Final = sql.read("referrals")


def model(org_id: str) -> str:
    """The name of an organisation's read model."""
    return f"referral:{org_id}"


async def save_organisations(conn: asyncpg.Connection, rows: Sequence[Organisation]) -> None:
    """Upsert."""
    await _save(conn, "save_referral_organizations", sorted(rows, key=attrgetter("org_id")))


async def save_referrals(conn: asyncpg.Connection, rows: Sequence[Referral]) -> None:
    """Upsert; the status follows from the times."""
    await _save(conn, "save_referrals", sorted(rows, key=attrgetter("referred_org_id")))


async def save_rewards(conn: asyncpg.Connection, rows: Sequence[Reward]) -> None:
    """Upsert."""
    await _save(conn, "save_referral_rewards", sorted(rows, key=attrgetter("key")))


async def _save(conn: asyncpg.Connection, query: str, rows: Sequence[msgspec.Struct]) -> None:
    if rows:
        await conn.execute(QUERIES[query], *map(list, zip(*map(msgspec.structs.astuple, rows), strict=True)))
