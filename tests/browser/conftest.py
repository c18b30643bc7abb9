"""A browser with an empty page, and an API with a drain that takes requests of any origin."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from db import connect, embedded
from db.settings import Settings
from tests.api.service import Service, running
from tests.browser import chromium
from tests.browser.chromium import Page
from tests.conftest import _clone, _drop


@pytest.fixture(scope="package")
async def service(
    _server: asyncpg.Connection, _template: str, _redis_server: str, urls: embedded.Urls
) -> AsyncIterator[Service]:
    """A Redis database of its own, since tests flush theirs."""
    database_url = await _clone(_server, _template, urls.database_url)
    redis_url = urlsplit(_redis_server)._replace(path="/8").geturl()
    settings = Settings(
        _env_file=None,
        database_url=database_url,
        redis_url=redis_url,
        partitions=4,
        durability="memory",
        port=0,
        jwt_secret=secrets.token_urlsafe(32),
        cors_origins=("*",),
    )
    async with running(settings, draining=True) as found:
        yield found
    async with connect.redis(redis_url) as client:
        await client.flushdb()
    await _drop(_server, database_url)


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """An empty page that reports what it loads, says and throws."""
    async with chromium.browser(chromium.program(), tmp_path / "browser") as page:
        for domain in ("Page", "Runtime", "Network", "Log"):
            await page.do(f"{domain}.enable")
        await page.looks(1100, 800)
        yield page


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pictures go; its name stands in the output of -s."""
    folder = tmp_path_factory.mktemp("pictures")
    print(f"\npictures of the pages: {folder}")
    return folder
