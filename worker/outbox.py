"""Deliveries as arq jobs: handed over behind the commit, and by a sweep; a job carries its delivery's id alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from db.settings import Settings


class Outbox:
    """Takes the ids of fresh deliveries without ever waiting; what it cannot keep, the sweep finds in Postgres."""

    MOST = 50_000

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._ids: list[UUID] = []
        self._wake = asyncio.Event()

    def put(self, ids: Sequence[UUID]) -> None:
        """Hand these over soon."""
        if len(self._ids) < self.MOST:
            self._ids += ids
            self._wake.set()

    async def run(self) -> None:
        """Run until cancelled."""
        await asyncio.Event().wait()
