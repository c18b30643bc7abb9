"""The codes of organisations, like CLIP42XY: made of their ids, unique, claimed in Postgres, never changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import asyncpg

from db import sql

QUERIES: Final = sql.read("referrals")
ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Letters and digits that nobody takes for another: no 0 and O, no 1 and I."""
LENGTH: Final = 4
TRIES: Final = 4
"""Candidates of one length, before they become longer: a code of 4 is one of a million."""


def candidate(prefix: str, org_id: str, number: int) -> str:
    """The code that an organisation wants when `number` others were taken: any number of them, without an end."""
    length = LENGTH + number // TRIES
    value = int.from_bytes(hashlib.shake_256(f"{org_id}\0{number}".encode()).digest(8 * length))
    letters = []
    for _ in range(length):
        value, place = divmod(value, len(ALPHABET))
        letters.append(ALPHABET[place])
    return prefix + "".join(letters)


async def claim(conn: asyncpg.Connection, prefix: str, org_ids: Iterable[str]) -> dict[str, str]:
    """Organisation -> its code: the one that it has, else the first candidate that is free.

    The caller holds the lock of claims, so that no other transaction is between looking and inserting.
    """
    wanted = sorted(set(org_ids))
    found = {row["org_id"]: row["code"] for row in await conn.fetch(QUERIES["codes_of_organizations"], wanted)}
    number = 0
    while wanting := [org_id for org_id in wanted if org_id not in found]:
        codes = [candidate(prefix, org_id, number) for org_id in wanting]
        for row in await conn.fetch(QUERIES["claim_referral_codes"], codes, wanting):
            found[row["org_id"]] = row["code"]
        number += 1
    return found
