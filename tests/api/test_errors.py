"""Every exception becomes one JSON answer, and tells nothing that a client should not see."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.exceptions
import structlog
from aiohttp import web

from api import errors
from api.errors import CODES, Problem
from db import appending, connect
from db.settings import Settings
from tests.api.doors import door


async def answer(error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
    async def fail(_: web.Request) -> web.Response:
        raise error

    async with door(fail) as client, client.get("/") as response:
        body: dict[str, Any] = await response.json()
        assert body.keys() == {"error"}
        return response.status, body["error"], dict(response.headers)


async def test_a_problem_has_the_status_of_the_table() -> None:
    problem = Problem("missing_scope", "this needs admin", details={"scope": "admin"}, headers={"X-One": "1"})
    status, error, headers = await answer(problem)
    assert status == 403
    assert error == {"code": "missing_scope", "message": "this needs admin", "details": {"scope": "admin"}}
    assert headers["X-One"] == "1"
    assert headers["Content-Type"] == "application/json"


async def test_a_status_may_be_given_and_details_may_be_missing() -> None:
    status, error, _ = await answer(Problem("too_deep", "an action is too deep", status=422))
    assert status == 422
    assert error == {"code": "too_deep", "message": "an action is too deep"}


def test_a_code_that_is_not_in_the_table_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        Problem("never_heard_of", "x")


@pytest.mark.parametrize("code", [code for code, (status, _) in CODES.items() if status == 503])
async def test_whoever_shall_retry_is_told_when(code: str) -> None:
    _, _, headers = await answer(Problem(code, "later"))
    assert int(headers["Retry-After"]) > 0


async def test_the_log_says_itself_when_to_retry() -> None:
    status, error, headers = await answer(appending.BacklogFull("full"))
    assert (status, error["code"], headers["Retry-After"]) == (503, "backlog_full", "5")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (web.HTTPNotFound(), 404, "not_found"),
        (web.HTTPRequestEntityTooLarge(max_size=1, actual_size=2), 413, "too_large"),
        (web.HTTPUnsupportedMediaType(), 415, "unsupported_media_type"),
        (web.HTTPExpectationFailed(), 417, "expectation_failed"),
        (redis.exceptions.ConnectionError("secret host"), 503, "log_unavailable"),
        (redis.exceptions.TimeoutError("secret host"), 503, "log_unavailable"),
        (redis.exceptions.ResponseError("WRONGTYPE secret"), 500, "internal"),
        (asyncpg.TooManyConnectionsError("secret"), 503, "database_unavailable"),
        (asyncpg.InterfaceError("connection is closed"), 503, "database_unavailable"),
        (asyncpg.InterfaceError("the server expects 1 argument"), 500, "internal"),
        (asyncpg.UndefinedTableError('relation "secret" does not exist'), 500, "internal"),
        (ConnectionRefusedError("secret host"), 503, "database_unavailable"),
        (TimeoutError(), 503, "database_unavailable"),
        (ZeroDivisionError("secret"), 500, "internal"),
    ],
)
async def test_other_exceptions(error: Exception, status: int, code: str) -> None:
    found, body, headers = await answer(error)
    assert (found, body["code"]) == (status, code)
    assert "secret" not in body["message"]
    assert ("Retry-After" in headers) == (status == 503)


async def test_a_wrong_method_names_the_right_ones() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response()

    async with door(handler) as client, client.put("/") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET,HEAD,POST"
        assert (await response.json())["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"x" * 1001, {}, 413, "too_large"),
        (b"no gzip", {"Content-Encoding": "gzip"}, 400, "malformed"),
    ],
)
async def test_a_body_that_cannot_be_read(body: bytes, headers: dict[str, str], status: int, code: str) -> None:
    async def read(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async with door(read) as client, client.post("/", data=body, headers=headers) as response:
        assert response.status == status
        assert (await response.json())["error"]["code"] == code


async def test_real_servers_that_are_away(settings: Settings) -> None:
    away = settings.model_copy(update={"database_url": "postgresql://x:y@127.0.0.1:1/z"})
    async with await connect.pool(away, "test", 1) as pool:
        with pytest.raises(ConnectionRefusedError) as no_postgres:
            await pool.fetchval("SELECT 1")
    async with connect.redis("redis://127.0.0.1:1/0") as client:
        with pytest.raises(redis.exceptions.RedisError) as no_redis:
            await client.get("x")
    assert errors.is_postgres_away(no_postgres.value)
    assert errors.is_redis_away(no_redis.value)
    assert not errors.is_postgres_away(no_redis.value)


async def test_a_pool_without_a_free_connection(settings: Settings) -> None:
    async with await connect.pool(settings, "test", 1) as pool, pool.acquire():
        with pytest.raises(TimeoutError) as busy:
            async with asyncio.timeout(0.01):
                await pool.fetchval("SELECT 1")
    assert errors.is_postgres_away(busy.value)


async def test_a_message_that_cannot_be_encoded_is_still_answered() -> None:
    _, error, _ = await answer(Problem("not_found", "no \ud800"))
    assert error["message"] == "no ?"


async def test_our_mistake_is_logged_once() -> None:
    mistake = ZeroDivisionError("1/0")
    with structlog.testing.capture_logs() as logged:
        status, error, _ = await answer(mistake)
    assert (status, error["message"]) == (500, "something went wrong on our side")
    assert logged == [{"event": "request failed", "log_level": "error", "exc_info": mistake}]


def test_redirects_are_no_errors() -> None:
    with pytest.raises(web.HTTPFound):
        errors.response(web.HTTPFound("/elsewhere"))


def test_the_documentation_has_the_same_codes() -> None:
    text = Path("docs/errors.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (.*) \|$", text, re.MULTILINE)
    assert rows == [(code, str(status), meaning) for code, (status, meaning) in CODES.items()]
