"""Erasing somebody from a session that others share, and that cannot be reckoned: it does not wait until it can."""

from __future__ import annotations

from typing import Any, cast

import pytest

from jobs.privacy import receipts
from tests.api.service import Service
from tests.jobs.commands import Operator, settled
from tests.jobs.test_analytics_aside import retry_now
from tests.jobs.test_privacy import ANN, click, erase, is_clean, lived, rolled, traces
from worker import privacy_jobs
from worker.context import Context

MENDS = "UPDATE configuration_snapshots SET configuration_data = '{\"a\": 1}' WHERE id = 'saved-bob'"
BREAKS = MENDS.replace("'{\"a\": 1}'", "(repeat('[', 3000) || repeat(']', 3000))::jsonb")
TORN = "UPDATE session_rollups SET counted = counted || '\\xc1' WHERE session_id = 'shared'"


async def share(pipe: Service, *users: str) -> None:
    """Who comes first has the session; what they choose in it has their name."""
    await lived(pipe, *users)
    for user in users:
        chose = {"eventType": "selection", "category": "engraving", "selectionValue": f"for {user}"}
        body = {"kind": "interaction.recorded", "sessionId": "shared", "userId": user, "data": chose}
        await pipe.settle(await pipe.send(body))
    saved = {"configuration": {"a": 1}, "trigger": "auto_save"}
    body = {"id": "saved-bob", "kind": "configuration.saved", "sessionId": "shared", "userId": "bob", "data": saved}
    await pipe.settle(await pipe.send(body))
    await settled(pipe)
    await rolled(pipe)


async def change(pipe: Service) -> None:
    """A pass looks at it again."""
    await pipe.settle(await pipe.send(click("changed", sessionId="shared", userId="bob")))
    await rolled(pipe)
    assert await aside(pipe) == ["shared"]


async def aside(pipe: Service) -> list[str]:
    """Sessions that passes cannot reckon."""
    return [row[0] for row in await pipe.sql.fetch("SELECT session_id FROM sessions_aside")]


async def counted(pipe: Service) -> list[Any]:
    """What `shared` counts for."""
    return list(await pipe.sql.fetch("SELECT * FROM session_rollups WHERE session_id = 'shared'"))


async def chosen(pipe: Service) -> set[str]:
    """What sessions chose, as popular-configs has it."""
    rows = await pipe.sql.fetch("SELECT key FROM rollups WHERE measure = 'choice:engraving'")
    return {row[0] for row in rows}


@pytest.mark.parametrize("users", [(ANN, "bob"), ("bob", ANN)], ids=["hers", "his"])
async def test_it_counts_for_nothing_until_it_can_be_reckoned(
    pipe: Service, operator: Operator, users: tuple[str, ...]
) -> None:
    await share(pipe, *users)
    await pipe.sql.execute(BREAKS)
    await change(pipe)
    assert len(await counted(pipe)) == 1
    receipt = await erase(pipe)
    assert receipt.status == "done"
    assert await traces(pipe, ANN) == []
    assert (await counted(pipe), await chosen(pipe), await aside(pipe)) == ([], set(), ["shared"])
    await pipe.sql.execute(MENDS)
    async with pipe.sql.acquire() as conn:
        await retry_now(conn)
    await rolled(pipe)
    assert (len(await counted(pipe)), await chosen(pipe), await aside(pipe)) == (1, {"for bob"}, [])
    await is_clean(operator)


async def test_what_breaks_while_they_are_erased(pipe: Service, operator: Operator) -> None:
    """No pass has seen it yet."""
    await share(pipe, "bob", ANN)
    await pipe.sql.execute(BREAKS)
    await erase(pipe)
    assert await traces(pipe, ANN) == []
    assert (await counted(pipe), await aside(pipe)) == ([], ["shared"])
    await pipe.sql.execute(MENDS)
    assert (await operator.run("rebuild")).code == 0
    assert (await chosen(pipe), await aside(pipe)) == ({"for bob"}, [])
    await is_clean(operator)


async def test_a_row_that_folding_mends_is_no_obstacle(pipe: Service, operator: Operator) -> None:
    """Also when its next try is far away."""
    await share(pipe, ANN, "bob")
    await pipe.sql.execute("UPDATE user_sessions SET total_price = 'NaN' WHERE session_id = 'shared'")
    await pipe.settle(await pipe.send(click("changed", sessionId="shared", userId="bob")))
    await rolled(pipe)
    assert await aside(pipe) == ["shared"]
    await erase(pipe)
    assert (await traces(pipe, ANN), await aside(pipe), await chosen(pipe)) == ([], [], {"for bob"})
    await is_clean(operator)


async def test_what_nobody_can_read_is_said_and_waited_for(pipe: Service, operator: Operator) -> None:
    """It cannot be taken back; a rebuild makes all numbers anew, and the worker goes on."""
    await share(pipe, ANN, "bob")
    await pipe.sql.execute(TORN)
    await change(pipe)
    async with pipe.sql.acquire() as conn:
        order = await receipts.order(conn, ANN)
    assert await work(pipe) == "0 erased, 1 to go on with"
    receipt = await read(pipe, order)
    assert receipt.status == "waiting"
    assert receipt.failure == "what 1 sessions counted for cannot be read, maybe theirs: python -m jobs rebuild"
    assert len(await counted(pipe)) == 1
    ran = await operator.run("erase", "--user", ANN, "--yes")
    assert ran.code == 1
    assert "cannot be read, maybe theirs: python -m jobs rebuild" in ran.err
    assert (await operator.run("rebuild")).code == 0
    await pipe.sql.execute("UPDATE erasures SET lease_until = now() WHERE done_at IS NULL")
    assert await work(pipe) == "1 erased"
    assert (await traces(pipe, ANN), await aside(pipe)) == ([], [])
    await rolled(pipe)
    await is_clean(operator)


async def test_what_nobody_can_read_is_waited_for_by_every_run(pipe: Service, operator: Operator) -> None:
    """Of a shared session nothing of theirs is left to find it by: the next run still does not call it done."""
    await share(pipe, "bob", ANN)
    await pipe.sql.execute(TORN)
    await change(pipe)
    async with pipe.sql.acquire() as conn:
        order = await receipts.order(conn, ANN)
    for _ in range(2):
        assert await work(pipe) == "0 erased, 1 to go on with"
        assert (await read(pipe, order)).status == "waiting"
        assert f"for {ANN}" in await chosen(pipe)
        await pipe.sql.execute("UPDATE erasures SET lease_until = now() WHERE done_at IS NULL")
    assert (await operator.run("rebuild")).code == 0
    assert await work(pipe) == "1 erased"
    assert (await traces(pipe, ANN), await aside(pipe), await chosen(pipe)) == ([], [], {"for bob"})
    await rolled(pipe)
    await is_clean(operator)


async def work(pipe: Service) -> str:
    """What a worker's schedule does."""
    made = {"pool": pipe.sql, "settings": pipe.settings, "log": pipe.redis}
    return await privacy_jobs.erase_people(cast("Context", made))


async def read(pipe: Service, order: Any) -> receipts.Receipt:
    """The receipt of an order."""
    async with pipe.sql.acquire() as conn:
        found = await receipts.find(conn, order)
    assert found is not None
    return found
