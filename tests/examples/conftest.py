"""A Milepost of the test's own, behind a gate, and a client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from db.settings import Settings
from milepost_client import Client
from tests.api.service import Service, running
from tests.examples.gate import Gate, gate
from tests.worker.rig import until


class Stage:
    """Milepost, the gate to it, and what is told of clients' actions."""

    def __init__(self, service: Service, door: Gate, spool: Path) -> None:
        self.service, self.gate, self.spool = service, door, spool
        self.rejected: list[tuple[Any, str, str]] = []

    def client(self, **options: Any) -> Client:
        """One that is quick."""
        given: dict[str, Any] = {"linger": 0.01, "on_rejected": lambda *told: self.rejected.append(told)} | options
        return Client(self.gate.url, self.service.key, self.spool, **given)

    async def counter(self, user: str, action: str = "DIAGRAM_UPLOAD") -> tuple[int, int]:
        """(used, reserved)."""
        query = "SELECT used, reserved FROM usage_counters WHERE subject = $1 AND action = $2"
        row = await self.service.sql.fetchrow(query, f"user:{user}", action)
        return (0, 0) if row is None else (row["used"], row["reserved"])

    async def counts(self, user: str, used: int, reserved: int = 0, action: str = "DIAGRAM_UPLOAD") -> None:
        """Until the counter stands so."""

        async def holds() -> bool:
            return await self.counter(user, action) == (used, reserved)

        try:
            await until(holds, "counted")
        except TimeoutError:
            pytest.fail(f"{user}: {await self.counter(user, action)}, not {(used, reserved)}")

    async def stands(self, user: str, used: int, reserved: int = 0) -> None:
        """The counter, once everything that Milepost has taken of a user is applied: in the order of its log."""
        barrier = {"kind": "usage.recorded", "userId": user, "data": {"action": "AI_ANALYSIS"}}
        assert (await self.service.send(barrier, Prefer="wait=10")).status == 200
        assert await self.counter(user) == (used, reserved)

    async def facts(self, user: str, kind: str = "usage.recorded") -> int:
        """How many were written."""
        query = "SELECT count(*) FROM usage_records WHERE subject = $1 AND kind = $2 AND action = 'DIAGRAM_UPLOAD'"
        return int(await self.service.sql.fetchval(query, f"user:{user}", kind))

    async def upgrade(self, user: str) -> None:
        """PROFESSIONAL, from now."""
        body = {"kind": "plan.changed", "userId": user, "data": {"plan": "PROFESSIONAL"}}
        answer = await self.service.send(body, Prefer="wait=10")
        assert answer.status == 200


@pytest.fixture
async def stage(settings: Settings, tmp_path: Path) -> AsyncIterator[Stage]:
    """A Milepost that applies what it takes."""
    async with running(settings, draining=True) as service:
        port = service.client.server.port
        assert port is not None
        async with gate(port) as door:
            yield Stage(service, door, tmp_path / "spool")
