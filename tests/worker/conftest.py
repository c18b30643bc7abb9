"""A rig on a cloned database and an empty Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from db.settings import Settings
from tests.worker import rig as rigs
from tests.worker.rig import Rig


@pytest.fixture
async def rig(settings: Settings) -> AsyncIterator[Rig]:
    """One worker's connections."""
    async with rigs.rig(settings) as made:
        yield made
