"""The API with a drain, on a database of the test's own, and an operator beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from db.settings import Settings
from tests.api.service import Service, running
from tests.jobs.commands import Operator


@pytest.fixture
async def pipe(settings: Settings) -> AsyncIterator[Service]:
    """Whatever a test posts is applied."""
    async with running(settings, draining=True) as service:
        yield service


@pytest.fixture
def operator(pipe: Service, tmp_path: Path) -> Operator:
    """Its commands work on `pipe`."""
    return Operator(pipe, tmp_path / "state")
