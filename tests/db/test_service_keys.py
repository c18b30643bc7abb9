"""Service keys in Postgres, and what Redis is told of them."""

from __future__ import annotations

import time

import asyncpg
import pytest
from redis.asyncio import Redis

from db import keys, service_keys
from db.service_keys import Known


async def test_a_key_is_kept_as_a_hash(conn: asyncpg.Connection) -> None:
    key = await service_keys.create(conn, "shop", ["ingest", "read"])
    assert service_keys.is_key(key)
    row = await service_keys.find(conn, service_keys.digest(key))
    assert row is not None
    assert (row["name"], row["scopes"]) == ("shop", ["ingest", "read"])
    assert key not in str(await conn.fetch("SELECT k::text FROM service_keys k"))


async def test_keys_differ(conn: asyncpg.Connection) -> None:
    made = {await service_keys.create(conn, "same name", ["read"]) for _ in range(5)}
    assert len(made) == 5


async def test_a_given_key_stays_as_it_is(conn: asyncpg.Connection) -> None:
    key = f"mp_{'x' * 43}"
    assert await service_keys.create(conn, "first", ["read"], key=key) == key
    assert await service_keys.create(conn, "second", ["admin"], key=key) == key
    assert [(row["name"], row["scopes"]) for row in await service_keys.listed(conn)] == [("first", ["read"])]


@pytest.mark.parametrize("scopes", [[], ["write"], ["ingest", "Admin"]])
async def test_scopes_that_are_none(conn: asyncpg.Connection, scopes: list[str]) -> None:
    with pytest.raises(ValueError, match="scopes are ingest, read, admin"):
        await service_keys.create(conn, "x", scopes)


@pytest.mark.parametrize(
    "key", ["", "mp_", "mp_short", f"mp_{'x' * 65}", f"xx_{'x' * 40}", f"mp_{'x' * 40}\n", f"mp_{'ä' * 40}"]
)
async def test_a_key_of_another_form(conn: asyncpg.Connection, key: str) -> None:
    assert not service_keys.is_key(key)
    if key:
        with pytest.raises(ValueError, match="a key is mp_"):
            await service_keys.create(conn, "x", ["read"], key=key)


async def test_revoking_by_name_and_by_id(conn: asyncpg.Connection) -> None:
    made = [await service_keys.create(conn, name, ["read"]) for name in ("a", "a", "b")]
    hashes = [service_keys.digest(key) for key in made]
    assert sorted(await service_keys.revoke(conn, "a")) == sorted(hashes[:2])
    assert await service_keys.revoke(conn, "a") == []
    row = await service_keys.find(conn, hashes[2])
    assert row is not None
    assert await service_keys.revoke(conn, str(row["id"])) == [hashes[2]]
    assert await service_keys.find(conn, hashes[2]) is None
    assert all(row["revoked_at"] for row in await service_keys.listed(conn))


async def test_redis_remembers_and_forgets(redis: Redis) -> None:
    known = Known("1", "shop", ("ingest",), time.time())
    assert await service_keys.recall(redis, "h") == (None, False)
    await service_keys.remember(redis, "h", known)
    assert await service_keys.recall(redis, "h") == (known, False)
    await service_keys.forget(redis, ["h", "other"])
    assert await service_keys.recall(redis, "h") == (None, True)
    assert await service_keys.recall(redis, "other") == (None, True)
    assert await redis.keys() == [keys.SERVICE_KEYS.encode()]
