"""Rate limits on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError
from redis.asyncio import Redis

from api.errors import Problem
from api.rates import CONNECTIONS, Rates
from db.settings import Settings
from jobs.action import Sender

SHOP = Sender("key:shop", "service", frozenset({"read"}))
USER = Sender("user:1", "user", frozenset({"read"}), "1")


@asynccontextmanager
async def limiting(redis_url: str, **changes: Any) -> AsyncIterator[Rates]:
    rates = Rates(Settings(_env_file=None, redis_url=redis_url, **changes))
    yield rates
    await rates.close()


async def count(rates: Rates, sender: Sender, requests: int) -> int:
    """How many of these requests are allowed."""
    allowed = 0
    for _ in range(requests):
        try:
            await rates.check(sender, "read")
        except Problem:
            continue
        allowed += 1
    return allowed


async def test_the_limit_is_exact_and_told(redis_url: str) -> None:
    async with limiting(redis_url, rate_limit_read="3/minute") as rates:
        remaining = [(await rates.check(USER, "read"))["RateLimit-Remaining"] for _ in range(3)]
        assert remaining == ["2", "1", "0"]
        with pytest.raises(Problem) as refused:
            await rates.check(USER, "read")
        problem = refused.value
        assert (problem.status, problem.code) == (429, "rate_limited")
        assert 1 <= int(problem.headers["Retry-After"]) <= 60
        assert problem.headers["RateLimit-Limit"] == "3"
        assert problem.headers["RateLimit-Remaining"] == "0"
        assert problem.headers["RateLimit-Reset"] == problem.headers["Retry-After"]


async def test_every_sender_and_every_rule_has_its_own(redis_url: str) -> None:
    async with limiting(redis_url, rate_limit_read="1/minute", rate_limit_update="1/minute") as rates:
        await rates.check(USER, "read")
        await rates.check(SHOP, "read")
        await rates.check(USER, "update")
        assert await count(rates, USER, 1) == 0


async def test_processes_share_the_limit_and_a_burst_does_not_pass_it(redis_url: str) -> None:
    """More requests at once than connections: they wait for one, and are not let through for want of it."""
    hour = "20/hour"
    async with limiting(redis_url, rate_limit_read=hour) as one, limiting(redis_url, rate_limit_read=hour) as two:
        for rates in (one, two):
            client: Any = rates.client
            await asyncio.gather(*(client.blpop(["nothing"], 0.1) for _ in range(CONNECTIONS)))
        allowed = await asyncio.gather(*(count((one, two)[i % 2], USER, 1) for i in range(CONNECTIONS * 40)))
    assert sum(allowed) == 20


async def test_a_window_that_is_over_lets_through_again(redis_url: str) -> None:
    async with limiting(redis_url, rate_limit_read="2/second") as rates:
        assert await count(rates, USER, 3) == 2
        async with asyncio.timeout(5):
            while not await count(rates, USER, 1):  # noqa: ASYNC110 nothing tells when a window ends
                await asyncio.sleep(0.05)


async def test_a_rule_that_is_empty_never_asks_redis() -> None:
    async with limiting("redis://127.0.0.1:1/0", rate_limit_ingest="") as rates:
        checking = rates.check(USER, "ingest")
        with pytest.raises(StopIteration) as finished:
            checking.send(None)
        assert finished.value.value == {}


async def test_without_redis_nobody_is_limited() -> None:
    async with limiting("redis://127.0.0.1:1/0", rate_limit_read="1/minute") as rates:
        assert await count(rates, USER, 3) == 3


async def test_names_of_users_do_not_run_into_each_other(redis: Redis, redis_url: str) -> None:
    """A user may choose an id with slashes, braces and patterns."""
    async with limiting(redis_url, rate_limit_read="1/minute") as rates:
        for name in ("user:a/b", "user:a", "user:{a}", "user:}*{"):
            await rates.check(Sender(name, "user", frozenset()), "read")
        assert await redis.dbsize() == 4
        assert [key for key in await redis.keys() if not key.startswith(b"mp:rate:{")] == []


@pytest.mark.parametrize("text", ["fast", "10", "0/minute", "10/fortnight", "-1/minute"])
def test_a_rate_that_is_none(text: str) -> None:
    with pytest.raises(ValidationError, match="a rate looks like 100/minute"):
        Settings(_env_file=None, rate_limit_read=text)
