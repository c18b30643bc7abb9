"""What every command needs: the URLs, a connection, and one clear line instead of a traceback."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import asyncpg
import redis.exceptions

from db import connect, dump, migrate
from db.server import StartError
from db.settings import Settings, load, stop

T = TypeVar("T")

FAILURES: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    redis.exceptions.RedisError,
    OSError,
    ValueError,
    migrate.Failed,
    dump.Failed,
    StartError,
)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command; what an operator can mend becomes one line and exit code 1."""
    try:
        return asyncio.run(work)
    except FAILURES as error:
        stop(explain(error), 1)
    except KeyboardInterrupt:
        stop("stopped", 130)


def settings() -> Settings:
    """The settings; URLs that are not set are those of the `make up` whose state folder is STATE (.milepost)."""
    found = load()
    state = Path(os.environ.get("STATE") or ".milepost") / "dev.json"
    if found.database_url and found.redis_url:
        return found
    try:
        dev: dict[str, str] = json.loads(state.read_text())
    except FileNotFoundError:
        dev = {}
    except (OSError, ValueError) as error:
        stop(f"{state} cannot be read: {error}")
    database, stream = found.database_url or dev.get("databaseUrl", ""), found.redis_url or dev.get("redisUrl", "")
    return found.model_copy(update={"database_url": database, "redis_url": stream})


def database_url() -> str:
    """The URL of Postgres, or the end."""
    url = settings().database_url
    if not url:
        stop("no database: set MILEPOST_DATABASE_URL, or start one with make up (its folder: STATE=.milepost)")
    return url


@asynccontextmanager
async def postgres() -> AsyncIterator[asyncpg.Connection]:
    """A connection for one command."""
    url = database_url()
    try:
        conn = await connect.postgres(url, "milepost-db")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
        raise StartError(f"cannot use Postgres at {place(url)}: {explain(error)}") from error
    try:
        yield conn
    finally:
        await conn.close(timeout=5)


def place(url: str) -> str:
    """A URL without its secrets."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else "the URL given"


def explain(error: BaseException) -> str:
    """One line."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, asyncpg.UndefinedTableError):
        return f"{text}: run `python -m db migrate` first"
    return text
