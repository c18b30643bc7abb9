"""A rig, and offices that deliver, on a cloned database and an empty Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from db.settings import Settings
from tests.jobs.learning import CATALOG
from tests.worker import rig as rigs
from tests.worker import teaching
from tests.worker.office import Office, office
from tests.worker.rig import Rig


@pytest.fixture
async def rig(settings: Settings) -> AsyncIterator[Rig]:
    """One worker's connections."""
    async with rigs.rig(settings) as made:
        yield made


@pytest.fixture
async def taught(rig: Rig) -> None:
    """The courses of tests/jobs/learning.py are there."""
    await teaching.teach(rig, *[(one.course_id, sorted(one.lessons), one.certificate) for one in CATALOG.values()])


@pytest.fixture
async def made(settings: Settings) -> AsyncIterator[Office]:
    """An office that delivers."""
    async with office(settings) as one:
        yield one


@pytest.fixture
async def closed(settings: Settings) -> AsyncIterator[Office]:
    """An office that does not deliver yet."""
    async with office(settings, closed=True) as one:
        yield one
