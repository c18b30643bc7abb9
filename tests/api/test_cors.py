"""Browsers of other origins: asked before, answered after, on errors too."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from db.settings import Settings
from tests.api.service import Answer, Service, running

SHOP, STRANGER = "https://shop.example", "https://stranger.example"


@pytest.fixture
async def shop(settings: Settings) -> AsyncIterator[Service]:
    """An API that the shop's pages may call."""
    async with running(settings.model_copy(update={"cors_origins": (SHOP,)})) as service:
        yield service


async def preflight(service: Service, origin: str, path: str = "/v1/actions") -> Answer:
    headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    return await service.ask("OPTIONS", path, by=None, Origin=origin, **headers)


async def test_a_preflight(shop: Service) -> None:
    answer = await preflight(shop, SHOP)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == SHOP
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
    for name in ("Authorization", "Content-Type", "Content-Encoding", "Prefer", "Idempotency-Key"):
        assert name in answer.headers["Access-Control-Allow-Headers"]
    assert answer.headers["Vary"] == "Origin"


async def test_a_strange_origin_is_told_nothing(shop: Service) -> None:
    answer = await preflight(shop, STRANGER)
    assert answer.status == 405
    answer = await shop.send({"kind": "session.ended", "sessionId": "s"}, Origin=STRANGER)
    assert answer.status == 202, "not the server but the browser keeps origins apart"
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["Vary"] == "Origin"


async def test_what_an_answer_depends_on_besides_is_still_told(shop: Service) -> None:
    certificate = await shop.get("/certificates/none", Origin=SHOP)
    assert certificate.headers["Vary"] == "Accept-Language, Origin"
    script = await shop.get("/graphql/graphiql/explorer.js", Origin=SHOP)
    assert script.headers["Vary"] == "Accept-Encoding, Origin"


async def test_every_answer_can_be_read(shop: Service) -> None:
    answers = [
        await shop.send({"kind": "session.ended", "sessionId": "s"}, Origin=SHOP),
        await shop.send({"kind": "nope"}, Origin=SHOP),
        await shop.send(b"{", Origin=SHOP),
        await shop.send({}, by=None, Origin=SHOP),
        await shop.get("/nowhere", Origin=SHOP),
        await shop.ask("PUT", "/v1/actions", Origin=SHOP),
        await shop.send(b"x", Origin=SHOP, Content_Encoding="br"),
    ]
    assert [answer.status for answer in answers] == [202, 422, 400, 401, 404, 405, 415]
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == SHOP
        assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
        assert "Milepost-Stale" in answer.headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_any_origin(settings: Settings) -> None:
    async with running(settings.model_copy(update={"cors_origins": ("*",)})) as service:
        assert (await preflight(service, STRANGER)).headers["Access-Control-Allow-Origin"] == STRANGER


async def test_without_the_setting_there_is_no_cors(settings: Settings) -> None:
    async with running(settings) as service:
        assert (await preflight(service, SHOP)).status == 405
        answer = await service.send({"kind": "session.ended", "sessionId": "s"}, Origin=SHOP)
        assert "Access-Control-Allow-Origin" not in answer.headers
