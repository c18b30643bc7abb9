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


def run(work: Coroutine[Any, Any, T], *expected: type[Exception]) -> T:
    """Run a command; what an operator can mend, or it is `expected` to refuse, becomes one line and exit code 1."""
    try:
        return asyncio.run(work)
    except expected as error:
        stop(str(error), 1)
    except FAILURES as error:
        stop(explain(error), 1)
    except KeyboardInterrupt:
        stop("stopped", 130)


def settings() -> Settings:
    """The settings; URLs that are not set are those of the `make up` whose state folder is STATE (.milepost)."""
    found = load()
    if found.database_url and found.redis_url:
        return found
    dev = started()
    database, stream = found.database_url or dev.get("databaseUrl", ""), found.redis_url or dev.get("redisUrl", "")
    return found.model_copy(update={"database_url": database, "redis_url": stream})


def servers() -> Settings:
    """The settings with the URLs of both servers, or the end."""
    found = settings()
    if not found.database_url or not found.log_url:
        stop(
            "no servers: set MILEPOST_DATABASE_URL and MILEPOST_REDIS_URL, or start both with make up (STATE=.milepost)"
        )
    return found


def state() -> Path:
    """The state folder of `make up`: STATE, or MILEPOST_STATE for what it starts itself; .milepost without either."""
    return Path(os.environ.get("STATE") or os.environ.get("MILEPOST_STATE") or ".milepost")


def started() -> dict[str, str]:
    """The URLs and keys that a `make up` on the state folder has written; nothing when there was none."""
    file = state() / "dev.json"
    try:
        dev: dict[str, str] = json.loads(file.read_text())
    except FileNotFoundError:
        dev = {}
    except (OSError, ValueError) as error:
        stop(f"{file} cannot be read: {error}")
    return dev


def api(url: str | None, key: str | None) -> tuple[str, str]:
    """The API's URL and a service key: those given, else those of the `make up` on the state folder, or the end."""
    dev = {} if url and key else started()
    url, key = url or dev.get("url", ""), key or dev.get("serviceKey", "")
    if not url:
        stop("no API: give --url or set MILEPOST_URL, or start one with make up (its folder: STATE=.milepost)")
    if not key:
        stop("no service key: give --key or set MILEPOST_KEY (python -m db keys create NAME --scope ingest)")
    return url.rstrip("/"), key


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
