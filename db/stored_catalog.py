"""The catalog as text: where it is kept, how the API processes hear of it. What it means is read in jobs/catalog.py."""

from __future__ import annotations

import hashlib
import tomllib
from functools import cache
from pathlib import Path
from typing import Final

import asyncpg
import msgspec
from redis.asyncio import Redis

from db import keys, sql

FILE: Final = Path(__file__).parent / "catalog.toml"
QUERIES: Final = sql.read("governing")


@cache
def shipped() -> str:
    """The default."""
    return FILE.read_text()


def version_of(body: str) -> str:
    """Made of the body, so that a version names one catalog in every database."""
    return hashlib.sha256(body.encode()).hexdigest()[:32]


def _parsed(body: str) -> str:
    """A section that is left out is as shipped."""
    return msgspec.json.encode(tomllib.loads(shipped()) | tomllib.loads(body)).decode()


async def read(conn: asyncpg.Connection | asyncpg.Pool, known: str = "") -> tuple[str, str | None] | None:
    """(version, body), the body None if the version is `known`; None when nothing is stored."""
    row = await conn.fetchrow(QUERIES["read_catalog"], known)
    return None if row is None else (row["version"], row["body"])


async def store(conn: asyncpg.Connection, body: str) -> bool:
    """Put this catalog in the place of the stored one; whether anything changed."""
    return await conn.fetchval(QUERIES["store_catalog"], version_of(body), body, _parsed(body)) is not None


async def keep(conn: asyncpg.Connection, body: str) -> bool:
    """Store this catalog unless there is one."""
    return await conn.fetchval(QUERIES["keep_catalog"], version_of(body), body, _parsed(body)) is not None


async def publish(conn: asyncpg.Connection | asyncpg.Pool, client: Redis) -> None:
    """Tell the API processes what Postgres has; of two that publish at once, the last to look sees what came last."""
    told: tuple[str, str | None] | str | None = ""
    while (row := await read(conn)) != told:
        told = row
        await client.set(keys.CATALOG, msgspec.json.encode(row))
