"""A browser with an empty page, and an API with a drain that takes requests of any origin."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from db import embedded
from tests.api.service import Service, apart
from tests.browser import chromium
from tests.browser.chromium import Page


@pytest.fixture(scope="package")
async def service(
    _server: asyncpg.Connection, _template: str, _redis_server: str, urls: embedded.Urls
) -> AsyncIterator[Service]:
    """One for all tests of this folder that need none of their own."""
    async with apart(_server, _template, urls.database_url, _redis_server, 8, cors_origins=("*",)) as found:
        yield found


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
