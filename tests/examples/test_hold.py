"""The guard: exact while Milepost decides; open or closed, as was chosen, while it does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from milepost_client import Away, Client, Denied, Guard, Subject
from milepost_client import hold as holds
from milepost_client.asgi import Message, Metered, Receive, Scope, Send, Use
from milepost_client.handlers import HELD, metered
from tests.examples.conftest import Stage

ADA = Subject(user_id="ada")
SMALL = 1024


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[Client]:
    """Started, and closed at the end."""
    async with stage.client(deadline=0.1) as client:
        yield client


async def test_up_to_the_limit_and_no_further(stage: Stage, client: Client) -> None:
    guard = Guard(client, timeout=10)

    async def one() -> bool:
        try:
            held = await guard.hold("DIAGRAM_UPLOAD", ADA)
        except Denied:
            return False
        assert held.decided
        held.commit()
        return True

    assert sum(await asyncio.gather(*(one() for _ in range(12)))) == 5
    await stage.counts("ada", 5)


async def test_what_milepost_says_is_passed_on(stage: Stage, client: Client) -> None:
    guard = Guard(client, timeout=10)
    with pytest.raises(Denied) as over:
        await guard.hold("DIAGRAM_UPLOAD", ADA, 6)
    with pytest.raises(Denied) as missing:
        await guard.hold("EXPORT_PDF", ADA)
    with pytest.raises(Denied) as large:
        await guard.hold("DIAGRAM_UPLOAD", ADA, file_size=20 << 20)
    errors = [json.loads(denied.value.body)["error"] for denied in (over, missing, large)]
    assert [(one.value.status, error["code"]) for one, error in zip((over, missing, large), errors, strict=True)] == [
        (429, "plan_limit_exceeded"),
        (403, "feature_not_in_plan"),
        (413, "file_too_large"),
    ]
    assert errors[0]["details"]["upgrade"]["plan"] == "PROFESSIONAL"
    await stage.stands("ada", 0)


async def test_less_than_was_held(stage: Stage, client: Client) -> None:
    held = await Guard(client, timeout=10).hold("DIAGRAM_UPLOAD", ADA, 4)
    for wrong in (5, -1):
        with pytest.raises(ValueError, match="of 4 that are held"):
            held.commit(wrong)
    held.commit(2)
    held.commit(4)
    held.release()
    await stage.counts("ada", 2)
    nothing = await Guard(client, timeout=10).hold("DIAGRAM_UPLOAD", ADA, 3)
    nothing.commit(0)
    await stage.counts("ada", 2, 0)


async def test_a_lost_answer_is_the_same_reservation(stage: Stage, client: Client) -> None:
    """The second try finds what the first one reserved."""
    stage.gate.lose = 1
    held = await Guard(client, timeout=10).hold("DIAGRAM_UPLOAD", ADA)
    assert held.decided
    assert stage.gate.lose == 0
    held.commit()
    assert await client.flush(60)
    await stage.stands("ada", 1)
    assert await stage.facts("ada", "usage.reserved") == 1


@pytest.mark.parametrize("jammed", [False, True])
async def test_open_serves_and_counts_later(stage: Stage, client: Client, *, jammed: bool) -> None:
    guard = Guard(client, timeout=0.2)
    stage.gate.jammed = jammed
    await stage.gate.shut()
    if jammed:
        await stage.gate.open()
    for _ in range(7):
        held = await guard.hold("DIAGRAM_UPLOAD", ADA)
        assert not held.decided
        held.commit()
    failed = await guard.hold("DIAGRAM_UPLOAD", ADA)
    failed.release()
    await stage.gate.shut()
    stage.gate.jammed = False
    await stage.gate.open()
    assert await client.flush(60)
    await stage.stands("ada", 7)


async def test_closed_serves_nobody(stage: Stage, client: Client) -> None:
    guard = Guard(client, outage="closed", timeout=0.2)
    await stage.gate.shut()
    for _ in range(5):
        with pytest.raises(Away):
            await guard.hold("DIAGRAM_UPLOAD", ADA)
    await stage.gate.open()
    await client.flush(60)
    await stage.stands("ada", 0)


async def test_a_wrong_key_decides_nothing(stage: Stage) -> None:
    stage.service.key = "mp_" + "x" * 40
    async with stage.client(deadline=0.1) as client:
        assert not (await Guard(client).hold("DIAGRAM_UPLOAD", ADA)).decided
        with pytest.raises(Away):
            await Guard(client, outage="closed").hold("DIAGRAM_UPLOAD", ADA)


async def test_nobody_waits_for_one_that_has_not_answered_for_long(stage: Stage, client: Client) -> None:
    guard = Guard(client, timeout=0.1)
    stage.gate.jammed = True
    await stage.gate.shut()
    await stage.gate.open()
    for _ in range(holds.TRIPS):
        await guard.hold("DIAGRAM_UPLOAD", ADA)
    guard.timeout = 3600
    async with asyncio.timeout(60):
        assert not (await guard.hold("DIAGRAM_UPLOAD", ADA)).decided


# Around handlers


async def _handler(request: web.Request) -> web.Response:
    match request.match_info["how"]:
        case "fine":
            return web.Response(status=201)
        case "redirect":
            raise web.HTTPSeeOther("/")
        case "refuse":
            return web.Response(status=400)
        case "abort":
            raise web.HTTPConflict
        case "fail":
            raise RuntimeError
        case _:
            request[HELD].commit(2)
            return web.Response(status=500)


@pytest.mark.parametrize(
    ("how", "status", "used"),
    [("fine", 201, 3), ("redirect", 303, 3), ("refuse", 400, 0), ("abort", 409, 0), ("fail", 500, 0), ("own", 500, 2)],
)
async def test_a_handler(stage: Stage, client: Client, how: str, status: int, used: int) -> None:
    guarded = metered(Guard(client, timeout=10), "DIAGRAM_UPLOAD", lambda _: ADA, quantity=3)(_handler)
    app = web.Application()
    app.router.add_post("/{how}", guarded)
    async with TestClient(TestServer(app)) as asking:
        async with asking.post(f"/{how}", allow_redirects=False) as response:
            assert response.status == status
        assert await client.flush(60)
        await stage.counts("ada", used, 0)
        async with asking.post("/fine", data=b"x" * SMALL, headers={"Content-Length": str(11 << 20)}) as response:
            assert response.status == 413


# Around ASGI applications


async def _application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/fail":
        raise RuntimeError
    status = 400 if scope["path"] == "/refuse" else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"o", "more_body": True})
    if scope["path"] == "/half":
        raise RuntimeError
    await send({"type": "http.response.body", "body": b"k"})


def _use(scope: Scope) -> Use | None:
    return None if scope["path"] == "/free" else Use("DIAGRAM_UPLOAD", ADA, 3)


async def call(app: Metered, path: str, **headers: str) -> list[Message]:
    """What it sends."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await app({"type": "http", "path": path, "headers": given}, receive, send)
    return sent


@pytest.mark.parametrize(("path", "used"), [("/fine", 3), ("/free", 0), ("/refuse", 0), ("/fail", 0), ("/half", 0)])
async def test_an_application(stage: Stage, client: Client, path: str, used: int) -> None:
    app = Metered(_application, Guard(client, timeout=10), _use)
    if path in {"/fail", "/half"}:
        with pytest.raises(RuntimeError):
            await call(app, path)
    else:
        assert (await call(app, path))[-1]["body"] == b"k"
    assert await client.flush(60)
    await stage.counts("ada", used, 0)


async def test_an_application_over_its_limit(stage: Stage, client: Client) -> None:
    app = Metered(_application, Guard(client, timeout=10), _use)
    await call(app, "/fine")
    start, body = await call(app, "/fine")
    assert start["status"] == 429
    assert json.loads(body["body"])["error"]["details"]["upgrade"]["plan"] == "PROFESSIONAL"
    assert (await call(app, "/fine", content_length=str(20 << 20)))[0]["status"] == 413
    await stage.gate.shut()
    closed = Metered(_application, Guard(client, outage="closed", timeout=0.2), _use)
    start, _ = await call(closed, "/fine")
    assert start["status"] == 503
    assert (b"retry-after", b"2") in start["headers"]
