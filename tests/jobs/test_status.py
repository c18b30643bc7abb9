"""The pipe on one screen: well, unwell, and half away."""

from __future__ import annotations

import json
import re
import time
from datetime import timedelta
from pathlib import Path

import pytest

from db import keys, stream
from db.settings import Settings
from tests.api.service import Service, running
from tests.jobs.commands import Operator


async def beat(pipe: Service, age: float = -60.0, failure: str | None = None, name: str = "host:1") -> None:
    """A worker's heartbeat; of a minute ahead, since a command may take its time to start."""
    now = time.time() - age
    value = {"at": now, "started": now - 10, "applied": 500, "rates": {"1": 30.5, "3": 2.0}, "failure": failure}
    await pipe.redis.hset(keys.WORKERS, name, json.dumps(value))  # type: ignore[misc]


async def test_a_pipe_that_is_well(pipe: Service, operator: Operator) -> None:
    await beat(pipe)
    run = {"at": time.time() - 90, "seconds": 0.5, "result": "3 ended", "failed": False}
    await pipe.redis.hset(keys.SCHEDULES, "end_idle_sessions", json.dumps(run))  # type: ignore[misc]
    due = {"end_idle_sessions": time.time() + 1799, "drop_days": time.time() + 3 * 3600 + 60}
    await pipe.redis.hset(keys.SCHEDULES_DUE, mapping=due)  # type: ignore[misc]
    answer = await pipe.send({"kind": "page.viewed", "sessionId": "s1"})
    await pipe.settle(answer)
    ran = await operator.run("status")
    assert ran.code == 0
    assert "the pipe is well" in ran.out
    assert "1 min ago  0.50 s  in 29 min  3 ended" in ran.out
    assert re.search(r"drop_days +never +in 3 h", ran.out)
    ran = await operator.run("status", "--json")
    found = json.loads(ran.out)
    worker = {"name": "host:1", "alive": True, "applied": 500, "rate": 32.5, "failure": None}
    assert any(worker.items() <= one.items() for one in found["workers"])
    # The drain beside has applied one action, and may have told so.
    rates = {one["id"]: one["rate"] for one in found["partitions"]}
    assert rates == pytest.approx({0: 0.0, 1: 30.5, 2: 0.0, 3: 2.0}, abs=1.0)
    applied = [one for one in found["partitions"] if one["position"] != "0-0"]
    assert answer.body["position"] == f"{applied[0]['id']}.{applied[0]['position']}"
    assert {"user_sessions", "tracked_events"} <= {one["name"] for one in found["tables"]}
    assert found["problems"] == found["warnings"] == []


async def test_what_is_wrong_makes_the_exit_code(settings: Settings, tmp_path: Path) -> None:
    async with running(settings) as pipe:
        await _unwell(pipe, Operator(pipe, tmp_path / "state"))


async def _unwell(pipe: Service, operator: Operator) -> None:
    nobody = await operator.run("status")
    assert nobody.code == 1
    assert "problem  no worker is alive" in nobody.out
    assert {one["rate"] for one in json.loads((await operator.run("status", "--json")).out)["partitions"]} == {None}
    await beat(pipe, age=20)
    await beat(pipe, failure="DeadlockDetectedError", name="host:2")
    rates = [one["rate"] for one in json.loads((await operator.run("status", "--json")).out)["partitions"]]
    assert rates == [0.0, 30.5, 0.0, 2.0], "of those alive"
    ran = await operator.run("status")
    assert ran.code == 1
    assert "problem  worker host:2 fails: DeadlockDetectedError" in ran.out
    assert re.search(r"warning  worker host:1 is gone, since \d+ s", ran.out)


async def test_a_job_that_does_not_run_is_told(pipe: Service, operator: Operator) -> None:
    await beat(pipe)
    await pipe.redis.hset(keys.SCHEDULES_DUE, "drop_days", str(time.time() - 1200))  # type: ignore[misc]
    ran = await operator.run("status")
    assert ran.code == 0
    assert "warning  the scheduled job drop_days should have run 20 min ago" in ran.out


async def test_an_erasure_that_is_not_done_is_told(pipe: Service, operator: Operator) -> None:
    await beat(pipe)
    query = "INSERT INTO erasures (person, user_id, requested_at) VALUES ($1, 'ann', now() - $2::interval)"
    for person, minutes in (("a", 16), ("b", 5)):
        await pipe.sql.execute(query, person, timedelta(minutes=minutes))
    ran = await operator.run("status")
    assert ran.code == 0
    assert "warning  1 erasure not done after 15 min: GET /v1/admin/erasures" in ran.out


async def test_lag_is_a_problem_and_a_dead_letter_a_warning(pipe: Service, operator: Operator) -> None:
    await beat(pipe)
    await pipe.sql.execute(
        "INSERT INTO dead_letters (partition, position, action_id, kind, subject, code, message, body) "
        "VALUES (0, '1-0', 'a', 'k', 's', 'poison', 'm', '')"
    )
    ran = await operator.run("status")
    assert ran.code == 0
    assert "warning  1 dead letter: python -m jobs dead list" in ran.out
    async with pipe.sql.acquire() as conn, conn.transaction():
        await conn.execute("SELECT FROM partitions FOR UPDATE")  # as a stuck worker
        old = f"{int(time.time() - 300) * 1000}-0"
        await pipe.redis.xadd(keys.actions(2), {"b": stream.pack([])}, id=old)
        ran = await operator.run("status")
    assert ran.code == 1
    assert "problem  partition 2 lags 3" in ran.out


async def test_sessions_aside_are_named(pipe: Service, operator: Operator) -> None:
    await beat(pipe)
    for n in range(5):
        await pipe.sql.execute("INSERT INTO sessions_aside VALUES ($1, 'ValueError', 1, now(), now())", f"broken-{n}")
    ran = await operator.run("status")
    assert ran.code == 0
    assert "warning  analytics cannot count 5 sessions: python -m jobs rebuild" in ran.out
    assert "broken-0, broken-1, broken-2" in ran.out
    assert "broken-3" not in ran.out
    await pipe.sql.execute("DELETE FROM sessions_aside")


@pytest.mark.parametrize(
    ("name", "url"), [("REDIS", "redis://127.0.0.1:1"), ("DATABASE", "postgresql://127.0.0.1:1/x")]
)
async def test_a_server_that_is_away(pipe: Service, operator: Operator, name: str, url: str) -> None:
    await beat(pipe)
    operator.env[f"MILEPOST_{name}_URL"] = url
    ran = await operator.run("status")
    assert ran.code == 1
    assert "away" in ran.out
    assert "tables" in ran.out if name == "REDIS" else "host:1" in ran.out
    assert " at 127.0.0.1:1" in ran.out


async def test_without_servers_it_says_what_to_do(operator: Operator) -> None:
    ran = await operator.run("status", MILEPOST_REDIS_URL="")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "make up" in ran.err
