"""Tracking: everything arrives once, whatever happens in between."""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import milepost_client
from milepost_client import Client, Subject, ThreadedClient
from milepost_client import client as clients
from milepost_client.client import LONGEST_PAUSE, LONGEST_RETRY_AFTER
from tests.examples.conftest import Stage
from tests.worker.rig import until

ADA = Subject(user_id="ada")


async def away(client: Client) -> None:
    """Until the client has noticed."""
    await until(lambda: _is(client._failures > 0), "failed")


async def _is(holds: bool) -> bool:
    return holds


async def test_what_is_tracked_is_counted(stage: Stage) -> None:
    async with stage.client() as client:
        for _ in range(1500):
            assert client.record("DIAGRAM_UPLOAD", ADA)
        client.track("page.viewed", ADA, {"path": "/"}, sessionId="visit-1")
        assert await client.flush(60)
    assert (client.counters.sent, client.queued, client.counters.rejected) == (1501, 0, 0)
    await stage.counts("ada", 1500)


async def test_a_bad_action_is_told_and_fails_no_other(stage: Stage) -> None:
    async with stage.client() as client:
        client.record("NO_SUCH_METER", ADA)
        client.record("DIAGRAM_UPLOAD", ADA)
        client.track("no.such_kind", ADA, {})
        client.record("DIAGRAM_UPLOAD", ADA, 0)
        assert await client.flush(60)
        client.track("no.such_kind", ADA, {})
        assert await client.flush(60)
    assert [code for _, code, _ in stage.rejected] == ["unknown_meter", "unknown_kind", "invalid_data", "unknown_kind"]
    assert stage.rejected[0][0]["data"]["action"] == "NO_SUCH_METER"
    assert (client.counters.sent, client.counters.rejected) == (1, 4)
    await stage.counts("ada", 1)


@pytest.mark.parametrize("data", [{"x": math.nan}, {"x": object()}, {"x": "y" * 600_000}])
async def test_what_cannot_be_written_is_dropped_and_told(stage: Stage, data: dict[str, Any]) -> None:
    async with stage.client() as client:
        assert client.track("event.tracked", ADA, {"event": "e", "properties": data}) is None
    assert client.counters.dropped == len(stage.rejected) == 1


async def test_a_callback_that_fails_stops_nothing(stage: Stage) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError

    async with stage.client(on_rejected=broken) as client:
        client.track("no.such_kind", ADA, {})
        client.record("DIAGRAM_UPLOAD", ADA)
        assert await client.flush(60)
    await stage.counts("ada", 1)


async def test_an_outage_loses_nothing(stage: Stage) -> None:
    async with stage.client() as client:
        client.record("DIAGRAM_UPLOAD", ADA)
        assert await client.flush(60)
        await stage.gate.shut()
        for _ in range(50):
            client.record("DIAGRAM_UPLOAD", ADA)
        await away(client)
        assert client.queued == 50
        await stage.gate.open()
        assert await client.flush(60)
    await stage.stands("ada", 51)
    assert await stage.facts("ada") == 51


async def test_a_lost_answer_counts_nothing_twice(stage: Stage) -> None:
    async with stage.client() as client:
        stage.gate.mute = True
        for _ in range(20):
            client.record("DIAGRAM_UPLOAD", ADA)
        await stage.counts("ada", 20)
        await away(client)
        assert client.queued == 20
        stage.gate.mute = False
        assert await client.flush(60)
    assert client.counters.sent == 20
    await stage.stands("ada", 20)


async def test_what_waits_is_sent_by_the_next_process(stage: Stage) -> None:
    await stage.gate.shut()
    async with stage.client(deadline=0.1) as client:
        for _ in range(5):
            client.record("DIAGRAM_UPLOAD", ADA)
    await stage.gate.open()
    async with stage.client() as client:
        await until(lambda: _is(client.counters.sent == 5), "sent")
        assert client.counters.recovered == 5
    await stage.counts("ada", 5)
    assert not list(stage.spool.iterdir())


async def test_a_family_that_is_off_is_waited_for(stage: Stage) -> None:
    admin = await stage.service.make_key("admin")
    switch = "/api/admin/flags/usage"
    assert (await stage.service.ask("PUT", switch, {"enabled": False}, by=admin)).status == 200
    async with stage.client() as client:
        client.record("DIAGRAM_UPLOAD", ADA)
        client.track("page.viewed", ADA, {"path": "/"}, sessionId="visit-1")
        await until(lambda: _is(client.counters.sent == 1), "the other one")
        assert client.queued == 1
        assert (await stage.service.ask("PUT", switch, {"enabled": True}, by=admin)).status == 200
        assert await client.flush(60)
    await stage.counts("ada", 1)
    assert stage.rejected == []


# Commits


async def reserved(stage: Stage, name: str) -> None:
    body = {"id": name, "kind": "usage.reserved", "userId": "ada", "data": {"action": "DIAGRAM_UPLOAD"}}
    assert (await stage.service.send(body, Prefer="wait=10")).status == 200


def settle(client: Client, name: str) -> None:
    """Commit a reservation, else record."""
    common = {"userId": "ada", "at": "2026-11-20T08:00:00Z"}
    commit = {"id": f"{name}.commit", "kind": "usage.committed", **common, "data": {"reservationId": name}}
    late = {"id": f"{name}.late", "kind": "usage.recorded", **common, "data": {"action": "DIAGRAM_UPLOAD"}}
    client.settle(commit, late)


async def test_a_commit_counts_once_however_often_it_is_sent(stage: Stage) -> None:
    await reserved(stage, "r-1")
    await stage.counts("ada", 0, 1)
    async with stage.client() as client:
        settle(client, "r-1")
        settle(client, "r-1")
        assert await client.flush(60)
        settle(client, "r-1")
        assert await client.flush(60)
    await stage.stands("ada", 1)
    assert stage.rejected == []


async def test_a_commit_without_a_reservation_is_recorded_once(stage: Stage) -> None:
    async with stage.client() as client:
        settle(client, "gone")
        settle(client, "gone")
        assert await client.flush(60)
        settle(client, "gone")
        assert await client.flush(60)
    await stage.stands("ada", 1)
    assert await stage.facts("ada") == 1
    at = await stage.service.sql.fetchval("SELECT at::date::text FROM usage_records WHERE kind = 'usage.recorded'")
    assert at == "2026-11-20"


async def test_a_commit_of_something_released_is_told(stage: Stage) -> None:
    await reserved(stage, "r-2")
    async with stage.client() as client:
        client.track("usage.released", ADA, {"reservationId": "r-2"})
        assert await client.flush(60)
        settle(client, "r-2")
        assert await client.flush(60)
    assert [code for _, code, _ in stage.rejected] == ["reservation_released"]
    await stage.stands("ada", 0)


# Answers that are not Milepost's own


@asynccontextmanager
async def answering(answer: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """A server of this test's."""
    app = web.Application()
    app.router.add_post("/v1/actions", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


async def test_a_proxy_that_takes_little_gets_little(tmp_path: Path) -> None:
    seen: list[str] = []

    async def small(request: web.Request) -> web.Response:
        body = await request.read()
        if len(body) > 1000:
            return web.Response(status=413, text="<html>too large</html>", content_type="text/html")
        seen.extend(json.loads(line)["id"] for line in body.splitlines())
        return web.json_response({"accepted": 1, "rejected": []}, status=202)

    told: list[Any] = []
    options: dict[str, Any] = {"linger": 0.01, "on_rejected": lambda *one: told.append(one)}
    async with answering(small) as url, Client(url, "mp_x", tmp_path, **options) as client:
        ids = [client.record("DIAGRAM_UPLOAD", ADA) for _ in range(100)]
        client.track("event.tracked", ADA, {"event": "x" * 2000})
        ids += [client.record("DIAGRAM_UPLOAD", ADA) for _ in range(100)]
        assert await client.flush(60)
    assert seen == ids
    assert [code for _, code, _ in told] == ["refused"]


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 502, 503])
async def test_what_is_no_fault_of_the_actions_is_sent_again(tmp_path: Path, status: int) -> None:
    answers = [web.Response(status=status, text="no"), web.json_response({"accepted": 1, "rejected": []}, status=202)]
    bodies: list[bytes] = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return answers.pop(0)

    async with answering(answer) as url, Client(url, "mp_x", tmp_path, linger=0.01) as client:
        client.record("DIAGRAM_UPLOAD", ADA)
        assert await client.flush(60)
        assert client.counters.sent == 1
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(text="<html>log in first</html>", content_type="text/html"),
        web.json_response([]),
        web.json_response({"error": "no"}, status=500),
        web.Response(status=302, headers={"Location": "/"}),
        web.json_response({"accepted": 0, "rejected": [{"index": "x"}]}, status=202),
    ],
)
async def test_an_answer_of_somebody_else_has_taken_nothing(
    tmp_path: Path, answer: web.Response, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "LONGEST_PAUSE", 0.1)
    answers = [answer, web.json_response({"accepted": 1, "rejected": []}, status=202)]

    async def answering_so(_: web.Request) -> web.Response:
        return answers.pop(0)

    async with answering(answering_so) as url, Client(url, "mp_x", tmp_path, linger=0.01) as client:
        client.record("DIAGRAM_UPLOAD", ADA)
        assert await client.flush(60)
        assert client.counters.sent == 1
    assert answers == []


async def test_what_comes_after_the_end_is_dropped(tmp_path: Path) -> None:
    client = Client("http://127.0.0.1:1", "mp_x", tmp_path)
    await client.start()
    await client.close()
    with (tmp_path / "others").open("wb") as others:
        assert client.record("DIAGRAM_UPLOAD", ADA) is None
        assert others.tell() == 0
    assert client.counters.dropped == 1


async def test_pauses_grow_and_are_never_less_than_asked_for(tmp_path: Path) -> None:
    client = Client("http://127.0.0.1:1", "mp_x", tmp_path)
    assert client._failed("x", 7) >= 7
    assert client._failed("x", 1e12) == LONGEST_RETRY_AFTER
    pauses = [client._failed("x", None) for _ in range(50)]
    assert max(pauses[:1]) < 2
    assert all(LONGEST_PAUSE / 2 <= pause <= LONGEST_PAUSE for pause in pauses[10:])
    assert len(set(pauses[10:])) > 30
    await client.close()


# Processes


TRACKER = """
import asyncio, os, sys
from milepost_client import Client, Subject

async def main() -> None:
    async with Client(sys.argv[1], sys.argv[2], sys.argv[3], linger=float(sys.argv[4])) as client:
        for number in range(200):
            client.record("DIAGRAM_UPLOAD", Subject(user_id="ada"))
            if number % 20 == 0:
                await asyncio.sleep(0)
        print("tracked", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""

SCRIPT = """
import sys
from milepost_client import Subject, ThreadedClient
client = ThreadedClient(sys.argv[1], sys.argv[2], sys.argv[3])
for _ in range(10):
    client.track("usage.recorded", Subject(user_id="ada"), {"action": "DIAGRAM_UPLOAD"})
"""


async def process(script: str, *words: str) -> asyncio.subprocess.Process:
    """Python, with the client at hand and nothing of this repository."""
    env = os.environ | {"PYTHONPATH": str(Path(milepost_client.__file__).parents[1])}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, *words, env=env, cwd="/", stdout=asyncio.subprocess.PIPE
    )


async def killed(stage: Stage, linger: str) -> None:
    """A process that tracks 200, ended by SIGKILL."""
    one = await process(TRACKER, stage.gate.url, stage.service.key, str(stage.spool), linger)
    assert one.stdout is not None
    assert await one.stdout.readline() == b"tracked\n"
    one.send_signal(signal.SIGKILL)
    await one.wait()


@pytest.mark.parametrize("when", ["before anything is sent", "while it is sent", "before the answer"])
async def test_kill_9_loses_nothing_and_doubles_nothing(stage: Stage, when: str) -> None:
    stage.gate.mute = when == "before the answer"
    await asyncio.gather(*(killed(stage, "60" if when == "before anything is sent" else "0") for _ in range(3)))
    stage.gate.mute = False
    async with stage.client() as client:
        assert await client.flush(60)
    await stage.stands("ada", 600)
    assert await stage.facts("ada") == 600
    assert not list(stage.spool.iterdir())


async def test_a_program_without_a_loop_flushes_at_its_end(stage: Stage) -> None:
    one = await process(SCRIPT, stage.gate.url, stage.service.key, str(stage.spool))
    assert await one.wait() == 0
    await stage.counts("ada", 10)
    assert not list(stage.spool.iterdir())


async def test_threaded(stage: Stage) -> None:
    def use() -> None:
        client = ThreadedClient(stage.gate.url, stage.service.key, stage.spool, linger=0.01)
        client.track("usage.recorded", ADA, {"action": "DIAGRAM_UPLOAD"})
        assert client.flush(60)
        assert (client.queued, client.counters.sent) == (0, 1)
        client.close()
        client.close()

    await asyncio.to_thread(use)
    await stage.counts("ada", 1)
