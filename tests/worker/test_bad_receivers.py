"""Receivers that hang, lie, redirect or are where nobody may go: a failed attempt each, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from db import ports
from db.settings import Settings
from tests.worker import receiver
from tests.worker.office import Office, office
from tests.worker.receiver import answering, effect, hang, register

# arq closes its pool by a name that redis-py has given up.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")


@pytest.fixture
async def brief(settings: Settings) -> AsyncIterator[Office]:
    """One that gives up after a second."""
    async with office(settings, webhook_timeout=1.0) as one:
        yield one


async def test_a_receiver_that_hangs_is_given_up_in_time(brief: Office) -> None:
    async with receiver.receiver(hang) as there:
        await register(brief.pool, there.url)
        await brief.put([effect()])
        await brief.tried(1)
    (attempt,) = await receiver.attempts(brief.pool)
    assert (attempt["status"], attempt["error"]) == (None, "no answer within 1 s")
    assert attempt["milliseconds"] >= 1000


async def test_one_that_drips_its_head_is_given_up_in_time(brief: Office) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.1)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        await register(brief.pool, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await brief.put([effect()])
        await brief.tried(1)
    (attempt,) = await receiver.attempts(brief.pool)
    assert (attempt["status"], attempt["error"]) == (None, "no answer within 1 s")


async def test_one_that_closes_is_tried_again(made: Office) -> None:
    async def close(request: web.Request, number: int) -> web.StreamResponse:
        if number == 1:
            assert request.transport is not None
            request.transport.close()
        return web.Response()

    async with receiver.receiver(close) as there:
        await register(made.pool, there.url)
        await made.put([effect()])
        await made.tried(1)
        (attempt,) = await receiver.attempts(made.pool)
        assert attempt["status"] is None
        assert "disconnected" in attempt["error"].lower()
        await made.hurry()
        await made.stands(delivered=1)


async def test_a_huge_answer_is_a_success_and_not_read(made: Office) -> None:
    sent = 0

    async def huge(request: web.Request, _: int) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(10_000):
            await response.write(b"x" * 10_000)
            sent += 10_000
        return response

    async with receiver.receiver(huge) as there:
        await register(made.pool, there.url)
        await made.put([effect()])
        await made.stands(delivered=1)
    (attempt,) = await receiver.attempts(made.pool)
    assert attempt["response"] == "x" * 1024
    assert sent < 20_000_000


async def test_a_body_that_never_ends_does_not_undo_its_status(settings: Settings) -> None:
    async def endless(request: web.Request, _: int) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half\0")
        await asyncio.sleep(3600)
        return response

    async with office(settings, webhook_timeout=60.0) as made, receiver.receiver(endless) as there:
        await register(made.pool, there.url)
        await made.put([effect()])
        await made.stands(delivered=1)
        (attempt,) = await receiver.attempts(made.pool)
    assert (attempt["status"], attempt["response"]) == (200, "half\ufffd")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_a_failure_and_never_followed(made: Office, status: int) -> None:
    async with (
        receiver.receiver() as elsewhere,
        receiver.receiver(answering(status, Location=elsewhere.url)) as there,
    ):
        await register(made.pool, there.url)
        await made.put([effect()])
        await made.tried(1)
        assert elsewhere.got == []
    (attempt,) = await receiver.attempts(made.pool)
    assert (attempt["status"], attempt["error"]) == (status, "redirects are not followed")
    assert await made.statuses() == {"pending": 1}


async def test_nobody_listens(made: Office) -> None:
    await register(made.pool, f"http://127.0.0.1:{ports.free()}/hook")
    await made.put([effect()])
    await made.tried(1)
    (attempt,) = await receiver.attempts(made.pool)
    assert attempt["status"] is None
    assert "127.0.0.1" in attempt["error"]


async def test_an_address_inside_the_house_is_refused_at_the_delivery_too(settings: Settings) -> None:
    async with office(settings, webhook_allow=()) as made, receiver.receiver() as there:
        await register(made.pool, there.url)
        await register(made.pool, there.url.replace("127.0.0.1", "localhost"))
        await made.put([effect()])
        await made.tried(2)
        assert there.got == []
        for attempt in await receiver.attempts(made.pool):
            assert attempt["status"] is None
            assert "webhooks may not go" in attempt["error"]


async def test_proxies_of_the_environment_see_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver.receiver() as proxy, receiver.receiver() as there:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with office(settings) as made:
            await register(made.pool, there.url)
            await made.put([effect()])
            await made.stands(delivered=1)
    assert (len(there.got), len(proxy.got)) == (1, 0)
