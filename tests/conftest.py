"""Real Postgres and Redis for every test: the embedded ones, or those of TEST_DATABASE_URL and TEST_REDIS_URL.

`make oldest` takes the oldest that are supported (tests/oldest.py). KEEPDB=1 keeps the database of a failed test and
prints its URL.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import hypothesis
import pytest
from redis.asyncio import Redis

from api.auth import key_source
from db import appending, connect, days, embedded, migrate, ports
from db.settings import Settings
from tests import clock, oldest

# A busy machine is no fault of an example.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

FAILED = pytest.StashKey[bool]()
KEPT = pytest.StashKey[list[str]]()
PREFIX = f"milepost_test_{secrets.token_hex(4)}"


def _in_memory() -> str | None:
    """Where files are memory, if there is plenty: a clone has 700 files, and costs a fifth there."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30 else None


def of_database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """The developer's own settings stay outside."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MILEPOST_")]:
            patch.delenv(name)
        patch.setenv("MILEPOST_SHED_ABOVE", "0")  # a busy machine is no reason to lose a test's clicks
        if oldest.pooled:
            patch.setenv("MILEPOST_STATEMENT_CACHE_SIZE", "0")
        number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
        for name in ("REDIS_SECONDS", "POSTGRES_SECONDS"):
            patch.setattr(key_source, name, 30.0)
        patch.setattr(appending, "FLUSH_SECONDS", 30.0)
        patch.setattr(ports, "PORTS", ports.PORTS[number % 8 :: 8])  # one that is about to listen is free to the others
        yield


@pytest.fixture(autouse=True)
def _one_day() -> None:
    """Nobody's quota or week ends in the middle of a test."""
    if seconds := clock.until_midnight_has_passed():
        time.sleep(seconds)


@pytest.fixture(scope="session")
def _direct(pytestconfig: pytest.Config) -> embedded.Urls:
    """The servers of this session; they outlive the fixtures, so that a kept database can still be looked at."""
    database, redis = os.environ.get("TEST_DATABASE_URL", ""), os.environ.get("TEST_REDIS_URL", "")
    if not (database and redis):
        stack = ExitStack()
        pytestconfig.add_cleanup(stack.close)
        own = stack.enter_context(embedded.temporary(fsync=False, within=_in_memory()))
        database, redis = database or own.database_url, redis or own.redis_url
    return embedded.Urls(database, redis)


@pytest.fixture(scope="session")
def urls(_direct: embedded.Urls) -> Iterator[embedded.Urls]:
    """Where tests and what they start find the servers."""
    if not oldest.pooled:
        yield _direct
        return
    with oldest.pgbouncer(_direct.database_url) as there:
        yield embedded.Urls(there, _direct.redis_url)


@pytest.fixture(scope="session")
async def _server(_direct: embedded.Urls) -> AsyncIterator[asyncpg.Connection]:
    """A connection that creates and drops databases; never pooled, since a template must have no connections."""
    conn = await connect.postgres(_direct.database_url)
    yield conn
    await conn.close()


@pytest.fixture(scope="session")
async def _template(_server: asyncpg.Connection, _direct: embedded.Urls) -> AsyncIterator[str]:
    """A migrated database that nobody connects to: cloning it takes about 35 ms."""
    await _server.execute(f'CREATE DATABASE "{PREFIX}_template"')
    conn = await connect.postgres(of_database(_direct.database_url, f"{PREFIX}_template"))
    await migrate.up(conn)
    await days.make(conn)
    await conn.close()
    yield f"{PREFIX}_template"
    await _server.execute(f'DROP DATABASE "{PREFIX}_template"')


async def _clone(server: asyncpg.Connection, template: str, url: str) -> str:
    name = f"{PREFIX}_{secrets.token_hex(4)}"
    await server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return of_database(url, name)


async def _drop(server: asyncpg.Connection, url: str) -> None:
    await server.execute(f'DROP DATABASE IF EXISTS "{urlsplit(url).path[1:]}" WITH (FORCE)')


@pytest.fixture
async def database_url(
    request: pytest.FixtureRequest, _server: asyncpg.Connection, _template: str, urls: embedded.Urls
) -> AsyncIterator[str]:
    """A migrated database of this test's own."""
    url = await _clone(_server, _template, urls.database_url)
    yield url
    if os.environ.get("KEEPDB") and request.node.stash.get(FAILED, False):
        request.config.stash.setdefault(KEPT, []).append(f"{request.node.nodeid}: {url}")
    else:
        await _drop(_server, url)


@pytest.fixture
async def empty_database_url(_server: asyncpg.Connection, urls: embedded.Urls) -> AsyncIterator[str]:
    """A database without anything in it."""
    url = await _clone(_server, "template0", urls.database_url)
    yield url
    await _drop(_server, url)


@pytest.fixture(scope="session")
async def _shared(_server: asyncpg.Connection, _template: str, urls: embedded.Urls) -> AsyncIterator[str]:
    url = await _clone(_server, _template, urls.database_url)
    yield url
    await _drop(_server, url)


@pytest.fixture(scope="session")
async def _shared_conn(_shared: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await connect.postgres(_shared)
    await conn.execute("SET idle_in_transaction_session_timeout = 0")  # examples of a property may think for long
    yield conn
    await conn.close()


@pytest.fixture
async def conn(_shared_conn: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a migrated database, in a transaction that is rolled back at the end."""
    transaction = _shared_conn.transaction()
    await transaction.start()
    yield _shared_conn
    await transaction.rollback()


@pytest.fixture(scope="session")
async def _redis_server(urls: embedded.Urls) -> str:
    async with connect.redis(urls.redis_url) as client:
        if await client.dbsize():
            pytest.exit("TEST_REDIS_URL holds keys, and the tests flush it: name an empty database", 2)
    return urls.redis_url


@pytest.fixture
async def redis_url(_redis_server: str) -> AsyncIterator[str]:
    """A Redis database that is empty; channels are shared by all of its databases."""
    yield _redis_server
    async with connect.redis(_redis_server) as client:
        await client.flushdb()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of this test's Redis."""
    async with connect.redis(redis_url) as client:
        yield client


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    """Settings on a database and a Redis of this test's own."""
    return Settings(
        _env_file=None,
        database_url=database_url,
        redis_url=redis_url,
        partitions=4,
        durability="memory",
        port=0,
        jwt_secret=secrets.token_urlsafe(32),
    )


def pytest_configure(config: pytest.Config) -> None:
    """Before anything starts a server."""
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    oldest.replace(patch)


def pytest_report_header() -> list[str]:
    """Which servers, where they are not the embedded ones."""
    return oldest.versions()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes give no names to tests: packed ones hold the time, and all workers must collect the same tests."""
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many processes `-n auto` starts, each with servers of its own.

    One where the Redis is given, for its channels are shared by all of its databases, and where somebody wants to look.
    """
    return 0 if os.environ.get("TEST_REDIS_URL") or os.environ.get("KEEPDB") else min(os.cpu_count() or 1, 4)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the kept databases, and keep embedded servers up while somebody looks."""
    kept = config.stash.get(KEPT, [])
    if not kept:
        return
    terminalreporter.section("kept databases (KEEPDB)")
    for line in kept:
        terminalreporter.line(line)
    if "TEST_DATABASE_URL" not in os.environ:
        terminalreporter.line("the embedded server ends with this run: press Enter when you have seen enough")
        try:
            input()
        except (EOFError, OSError):
            terminalreporter.line("(nobody there: TEST_DATABASE_URL names a server that stays)")
