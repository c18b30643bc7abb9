"""What is held of somebody over HTTP: all of it, streamed, and never a part that looks like the whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from api.admin import exports
from db import connect
from db.settings import Settings
from jobs.action import Action
from jobs.privacy import export
from tests.api.service import Service, running
from tests.api.test_admin import bury
from tests.jobs.test_privacy import ANN, lived

PATH = "/v1/admin/export"
MANY = 3000


@pytest.fixture
async def pipe(settings: Settings) -> AsyncIterator[Service]:
    """With a drain and a database of the test's own."""
    async with running(settings, draining=True) as service:
        yield service


async def ask(service: Service, **query: str) -> aiohttp.ClientResponse:
    """The head of an answer, for an admin; its body is still to be read."""
    head = {"Authorization": f"Bearer {await service.make_key('admin')}"}
    return await service.client.get(PATH, params=query, headers=head)


async def lines(response: aiohttp.ClientResponse) -> list[Any]:
    """All of them; the last one must say that it is the end."""
    found = [json.loads(line) for line in (await response.read()).splitlines()]
    assert found[-1] == {"table": "end", "row": {"rows": len(found) - 1}}
    return found[:-1]


async def take(response: aiohttp.ClientResponse, into: list[bytes]) -> None:
    """What comes, until it ends or breaks off."""
    while part := await response.content.readany():
        into.append(part)


async def many(service: Service, user: str) -> None:
    """More clicks than a part holds."""
    await service.sql.execute(
        "INSERT INTO interaction_events (id, subject, session_id, user_id, at, received_at, event_type, category, "
        "selection_value) SELECT 'many-' || n, 'session:s', 's', $1, now(), now(), 'click', 'nest', repeat('x', 500) "
        "FROM generate_series(1, $2::int) n",
        *(user, MANY),
    )


@pytest.mark.parametrize("whom", [{"userId": ANN}, {"orgId": "acme"}], ids=["user", "org"])
async def test_it_is_what_the_command_writes(pipe: Service, whom: dict[str, str]) -> None:
    await lived(pipe, ANN, "bob")
    response = await ask(pipe, **whom)
    assert (response.status, response.content_type) == (200, "application/x-ndjson")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Disposition"] == 'attachment; filename="export.ndjson"'
    found = await lines(response)
    async with pipe.sql.acquire() as conn:
        given = whom.get("userId"), whom.get("orgId")
        wanted = [json.loads(line) async for _, line in export.lines(conn, pipe.redis, *given)]
    assert found == wanted[:-1]
    tables = {row["table"] for row in found}
    if "userId" in whom:
        assert tables >= {
            *("interaction_events", "configuration_snapshots", "performance_metrics", "tracked_events"),
            *("user_sessions", "session_rollups", "visitor_hours", "onboarding_events", "onboarding_progress"),
            *("course_events", "user_progress", "user_courses", "certificates", "referral_events", "usage_records"),
            *("usage_counters", "usage_reservations", "usage_accounts", "effects", "deliveries", "dead_letters"),
            "read models",
        }
        assert "bob" not in json.dumps([row for row in found if row["table"] != "user_sessions"])
    else:
        assert tables >= {"onboarding_progress", "referral_events", "referral_organizations", "referral_codes"}


async def test_many_rows_come_in_parts(pipe: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    await many(pipe, "ann")
    sent: list[int] = []
    write = web.StreamResponse.write

    async def noted(self: Any, data: bytes) -> None:
        sent.append(len(data))
        await write(self, data)

    monkeypatch.setattr(web.StreamResponse, "write", noted)
    found = await lines(await ask(pipe, userId="ann"))
    assert {row["row"]["id"] for row in found} == {f"many-{n}" for n in range(1, MANY + 1)}
    assert len(sent) > 10
    assert max(sent) < exports.PART + 4096


async def test_of_nobody_there_is_the_end_alone(pipe: Service) -> None:
    for whom in (
        {"userId": "nobody"},
        {"orgId": "nobody"},
        {"userId": "' OR 1=1 --"},
        {"userId": "%"},
        {"userId": "💡"},
    ):
        assert await lines(await ask(pipe, **whom)) == []


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("query", "status", "path"),
    [
        ("", 400, "userId"),
        ("?userId=a&orgId=b", 400, "userId"),
        ("?userId=", 422, "userId"),
        ("?userId=%00", 422, "userId"),
        ("?orgId=a%0Ab", 422, "orgId"),
        ("?userId=" + "x" * 129, 422, "userId"),
    ],
)
async def test_wrong_ids(service: Service, query: str, status: int, path: str) -> None:
    answer = await service.get(PATH + query, by=await service.make_key("admin"))
    assert (answer.status, answer.error["details"]) == (status, {"path": path})


@pytest.mark.usefixtures("quiet")
async def test_admins_only(service: Service) -> None:
    own = service.token("ann", aud="milepost", scope="read ingest")
    for by, status in ((None, 401), (service.key, 403), (own, 403), (service.token("ann", aud="milepost"), 403)):
        assert (await service.get(f"{PATH}?userId=ann", by=by)).status == status
    assert (await service.ask("POST", f"{PATH}?userId=ann", {}, by=await service.make_key("admin"))).status == 405


class Locked:
    """A table that nobody can read until it is let go: what stands before it in an export has gone out."""

    def __init__(self, service: Service, table: str) -> None:
        self.service, self.table = service, table

    async def __aenter__(self) -> Locked:
        self.conn = await connect.postgres(self.service.settings.database_url)
        self.transaction = self.conn.transaction()
        await self.transaction.start()
        await self.conn.execute(f"LOCK TABLE {self.table}")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.conn.close()

    async def wait(self) -> int:
        """Until the export stands before it; the process of Postgres that reads for it."""
        query = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'milepost-export' AND wait_event_type = 'Lock'"
        )
        async with asyncio.timeout(10):
            while (found := await self.service.sql.fetchval(query)) is None:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        pid: int = found
        return pid


async def test_a_fault_midway_is_no_whole_answer(pipe: Service) -> None:
    await many(pipe, "ann")
    async with Locked(pipe, "usage_records") as lock:
        response = await ask(pipe, userId="ann")
        assert response.status == 200
        await pipe.sql.execute("SELECT pg_terminate_backend($1)", await lock.wait())
        got: list[bytes] = []
        with pytest.raises(aiohttp.ClientError):
            await take(response, got)
    assert got
    assert b'"end"' not in b"".join(got)
    assert len(await lines(await ask(pipe, userId="ann"))) == MANY


async def test_a_fault_before_the_first_row_is_an_answer(pipe: Service) -> None:
    await many(pipe, "ann")
    async with Locked(pipe, "user_sessions") as lock:
        asked = asyncio.create_task(ask(pipe, userId="ann"))
        await pipe.sql.execute("SELECT pg_terminate_backend($1)", await lock.wait())
        response = await asked
        assert response.status == 503
        assert (await response.json())["error"]["code"] == "database_unavailable"


async def test_two_at_once_and_who_leaves_gives_the_place_back(pipe: Service) -> None:
    await many(pipe, "ann")
    async with Locked(pipe, "usage_records"):
        open_ones = [await ask(pipe, userId="ann") for _ in range(exports.AT_ONCE)]
        third = await ask(pipe, userId="ann")
        assert (third.status, (await third.json())["error"]["code"]) == (503, "busy")
        assert "Retry-After" in third.headers
        for one in open_ones:
            one.close()
    async with asyncio.timeout(10):
        while (response := await ask(pipe, userId="ann")).status != 200:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)
    assert len(await lines(response)) == MANY


async def test_who_takes_nothing_is_cut_off(pipe: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "SLOW_SECONDS", 0.2)
    await big(pipe, 400)
    reader, writer = await asyncio.open_connection(pipe.client.server.host, pipe.client.server.port, limit=1024)
    key = await pipe.make_key("admin")
    writer.write(f"GET {PATH}?userId=ann HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
    await _until_nobody_exports(pipe)
    assert not pipe.client.server.app[exports.PLACES].locked()  # type: ignore[attr-defined]
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(40_000_000)
    writer.close()


async def big(service: Service, number: int) -> None:
    """Rows that are a part each."""
    await service.sql.execute(
        "INSERT INTO interaction_events (id, subject, session_id, user_id, at, received_at, event_type, category, "
        "selection_value) SELECT 'big-' || n, 'session:s', 's', 'ann', $1, $1, 'click', 'nest', repeat('x', 100000) "
        "FROM generate_series(1, $2::int) n",
        *(datetime.now(UTC), number),
    )


def taken_slowly(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Each part takes so long to send."""
    write = web.StreamResponse.write

    async def slowly(self: Any, data: bytes) -> None:
        await write(self, data)
        await asyncio.sleep(seconds)

    monkeypatch.setattr(web.StreamResponse, "write", slowly)


async def test_postgres_waits_for_who_takes_each_part_in_time(pipe: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr(export, "PREFETCH", 30)
    taken_slowly(monkeypatch, 0.1)
    await big(pipe, 35)
    assert len(await lines(await ask(pipe, userId="ann"))) == 35


async def test_no_snapshot_is_open_for_ever(pipe: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "WHOLE_SECONDS", 1.0)
    taken_slowly(monkeypatch, 0.1)
    await big(pipe, 200)
    got: list[bytes] = []
    response = await ask(pipe, userId="ann")
    with pytest.raises(aiohttp.ClientError):
        await take(response, got)
    assert got
    assert b'"end"' not in b"".join(got)


@pytest.mark.parametrize("path", [f"{PATH}?userId=ann", "/v1/live?userId=ann"])
async def test_the_head_alone_is_not_to_be_had(pipe: Service, path: str) -> None:
    """Rows behind it would be read as the next answer of the connection."""
    await many(pipe, "ann")
    head = f"HEAD {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {await pipe.make_key('admin')}\r\n\r\n"
    reader, writer = await asyncio.open_connection(pipe.client.server.host, pipe.client.server.port)
    writer.write((head + "GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").encode())
    async with asyncio.timeout(10):
        first, _, rest = (await reader.read()).partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 405 ")
    assert rest.startswith(b"HTTP/1.1 404 ")
    writer.close()
    await writer.wait_closed()


async def _until_nobody_exports(service: Service) -> None:
    """It began, and it ended."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'milepost-export'"
    for wanted in (1, 0):
        async with asyncio.timeout(20):
            while await service.sql.fetchval(query) != wanted:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)


async def test_a_snapshot_is_of_one_moment(pipe: Service) -> None:
    """What comes while it is read is not among it, whichever table it goes to."""
    await many(pipe, "ann")
    async with Locked(pipe, "usage_records") as lock:
        response = await ask(pipe, userId="ann")
        await lock.wait()
        now = datetime.now(UTC)
        await bury(pipe, msgspec.msgpack.encode(Action("late", "gone.kind", "user:ann", now, now, 0, b"{}")))
    assert {row["table"] for row in await lines(response)} == {"interaction_events"}
    assert "dead_letters" in {row["table"] for row in await lines(await ask(pipe, userId="ann"))}
