"""The request that comes most has a way of its own past the router: its answers are those of the way of all others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from api.one_write import OneWrite
from db import metrics
from tests.api.service import Service

ACTION = {"kind": "session.ended", "sessionId": "front"}
BODY = json.dumps(ACTION).encode()


@pytest.fixture(autouse=True)
async def _applied(service: Service) -> AsyncIterator[None]:
    """What these tests sent, before others count what is applied."""
    yield
    await service.settle(await service.send(ACTION))


def head(service: Service, version: str = "1.1", *more: str) -> bytes:
    """A request with ACTION as its body."""
    lines = (f"Authorization: Bearer {service.key}", "Content-Type: application/json", f"Content-Length: {len(BODY)}")
    return "\r\n".join((f"POST /v1/actions HTTP/{version}", "Host: test", *lines, *more, "", "")).encode() + BODY


async def said(service: Service, request: bytes) -> bytes:
    """All that the server says until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.client.port)
    writer.write(request)
    async with asyncio.timeout(60):
        found = await reader.read()
    writer.close()
    return found


async def test_both_ways_answer_alike(service: Service) -> None:
    straight = await service.send(ACTION)
    routed = await service.send(ACTION, "/v1/actions?by=router")
    assert straight.status == routed.status == 202
    assert straight.body.keys() == routed.body.keys() == {"accepted", "rejected", "ids", "position"}
    other = await service.get("/v1/kinds")
    assert dict.fromkeys(straight.headers) == dict.fromkeys(routed.headers)
    assert straight.headers["Content-Type"] == routed.headers["Content-Type"] == "application/json"
    assert straight.headers["Server"] == other.headers["Server"]
    assert len(straight.headers["Date"]) == len(other.headers["Date"])


async def test_both_ways_are_counted_as_one_route(service: Service) -> None:
    def counted() -> float:
        metrics.fold()
        labels = {"route": "/v1/actions", "method": "POST", "status": "202"}
        found = metrics.HTTP.collect()
        return sum(s.value for f in found for s in f.samples if s.name.endswith("_count") and s.labels == labels)

    before = counted()
    for path in ("/v1/actions", "/v1/actions?by=router"):
        await service.send(ACTION, path)
    assert counted() == before + 2


@pytest.mark.parametrize(("version", "header"), [("1.0", "X: y"), ("1.1", "Connection: close")])
async def test_a_connection_that_is_not_kept_is_closed(service: Service, version: str, header: str) -> None:
    answer = await said(service, head(service, version, header))
    first, _, body = answer.partition(b"\r\n\r\n")
    assert first.startswith(f"HTTP/{version} 202 Accepted\r\n".encode())
    assert json.loads(body)["accepted"] == 1


async def test_answers_come_in_the_order_of_their_requests(service: Service) -> None:
    answers = await said(service, head(service) * 3 + head(service, "1.1", "Connection: close"))
    assert answers.count(b"HTTP/1.1 202 Accepted\r\n") == 4
    places = [json.loads(part.partition(b"\r\n\r\n")[2])["position"] for part in answers.split(b"HTTP/1.1")[1:]]
    assert places == sorted(places, key=lambda one: [int(part) for part in one.partition(".")[2].split("-")])


async def test_a_request_that_asks_to_be_told_to_go_on_is_told(service: Service) -> None:
    answer = await said(service, head(service, "1.1", "Expect: 100-continue", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\n")


def test_what_headers_are_added_to_says_the_same() -> None:
    answer = OneWrite(b"{}", 202).ordinary()
    assert (answer.status, answer.body, answer.content_type) == (202, b"{}", "application/json")
