"""kill -9 of who erases, at any command that it sends: the next one goes on, and what was removed is counted once."""

from __future__ import annotations

import pytest

from jobs.privacy import receipts
from tests.api.service import Service
from tests.jobs.commands import PATIENCE, Operator
from tests.jobs.test_privacy import ANN, is_clean, lived, traces
from tests.worker.victims import ended, victim


@pytest.mark.parametrize("when", ["before", "sent"])
async def test_a_kill_at_any_command_leaves_nothing_half_done(pipe: Service, operator: Operator, when: str) -> None:
    await lived(pipe, ANN, "bob")
    async with pipe.sql.acquire() as conn:
        order = await receipts.order(conn, ANN)
        async with victim("tests.worker.killed_erasing", pipe.settings) as process:
            ends, number = [await ended(process, 2, when, PATIENCE)], 2
            while ends[-1] != "done":
                held = await receipts.find(conn, order)
                assert held is not None
                assert held.status in {"waiting", "running"}, ends
                # As if the lease had run out.
                await conn.execute("UPDATE erasures SET lease_until = now() WHERE id = $1", order)
                number += 9
                ends.append(await ended(process, number, when, PATIENCE))
        assert ends == ["killed"] * (len(ends) - 1) + ["done"]
        assert len(ends) > 8
        receipt = await receipts.find(conn, order)
    assert await traces(pipe, ANN) == []
    assert receipt is not None
    assert (receipt.status, receipt.removed["user_sessions"], receipt.removed["interaction_events"]) == ("done", 2, 6)
    assert await pipe.sql.fetchval("SELECT count(*) FROM erasures") == 1
    await is_clean(operator)
