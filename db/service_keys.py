"""Service keys: made once, shown once, kept as a hash, revocable. Postgres has them, Redis passes them on."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import msgspec
from redis.asyncio import Redis

from db import keys, sql

SCOPES: Final = ("ingest", "read", "admin")
QUERIES = sql.read("service_keys")
_FORM = re.compile(r"mp_[A-Za-z0-9_-]{32,64}")


def digest(key: str) -> str:
    """SHA-256 in hex. The keys have 256 random bits, so that a fast hash is enough."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


async def create(conn: asyncpg.Connection, name: str, scopes: Sequence[str], key: str | None = None) -> str:
    """Store a key and return it: the only time that it can be seen. A key given again is left as it is."""
    unknown = set(scopes) - set(SCOPES)
    if unknown or not scopes:
        raise ValueError(f"scopes are {', '.join(SCOPES)}; not {', '.join(sorted(unknown)) or 'none'}")
    key = key or f"mp_{secrets.token_urlsafe(32)}"
    if not _FORM.fullmatch(key):
        raise ValueError("a key is mp_ and 32 to 64 characters of A-Z a-z 0-9 _ -")
    await conn.execute(QUERIES["create_service_key"], name, digest(key), list(scopes))
    return key


async def revoke(conn: asyncpg.Connection, id_or_name: str) -> list[str]:
    """Revoke by id or name; the hashes that are revoked now (empty: there was no such key)."""
    rows = await conn.fetch(QUERIES["revoke_service_key"], id_or_name)
    return [row["hash"] for row in rows]


async def find(conn: asyncpg.Connection | asyncpg.Pool, hashed: str) -> asyncpg.Record | None:
    """The unrevoked key with this hash: {id, name, scopes}."""
    return await conn.fetchrow(QUERIES["find_service_key"], hashed)


class Known(msgspec.Struct, frozen=True):
    """A key as Redis carries it; `at`: unix seconds when Postgres was asked."""

    id: str
    name: str
    scopes: tuple[str, ...]
    at: float


_known: Final = msgspec.json.Decoder(Known)


def is_key(text: str) -> bool:
    """Whether this has the form of a key."""
    return _FORM.fullmatch(text) is not None


async def recall(client: Redis, hashed: str) -> tuple[Known | None, bool]:
    """What Redis knows of this hash, and whether the key was revoked."""
    fields: Any = client.hmget(keys.SERVICE_KEYS, [hashed, f"revoked:{hashed}"])
    found, revoked = await fields
    return (_known.decode(found) if found else None), revoked is not None


async def remember(client: Redis, hashed: str, known: Known) -> None:
    """Tell Redis what Postgres says. It never takes back a revocation, which has a field of its own."""
    stored: Any = client.hset(keys.SERVICE_KEYS, hashed, msgspec.json.encode(known).decode())
    await stored


async def forget(client: Redis, hashes: Sequence[str]) -> None:
    """Tell every API process that these keys are revoked; call it after the transaction that revokes them."""
    # The mark first: with it, what is still there counts no more.
    pipe = client.pipeline(transaction=False)
    pipe.hset(keys.SERVICE_KEYS, mapping={f"revoked:{hashed}": "1" for hashed in hashes})
    pipe.hdel(keys.SERVICE_KEYS, *hashes)
    await pipe.execute()


async def listed(conn: asyncpg.Connection) -> list[asyncpg.Record]:
    """All keys: {id, name, scopes, created_at, revoked_at}."""
    rows: list[asyncpg.Record] = await conn.fetch(QUERIES["list_service_keys"])
    return rows
