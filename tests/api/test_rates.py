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
from api.rates import Rates, parse
from db import connect
from db.settings import Settings
from db.wire import Shared
from jobs.action import Sender

SHOP = Sender("key:shop", "service", frozenset({"read"}))
USER = Sender("user:1", "user", frozenset({"read"}), "1")


@asynccontextmanager
async def limiting(redis_url: str, **changes: Any) -> AsyncIterator[Rates]:
    client = connect.redis(redis_url)
    shared = Shared(client)
    shared.start()
    try:
        yield Rates(Settings(_env_file=None, redis_url=redis_url, **changes), shared)
    finally:
        await shared.stop()
        await client.aclose()


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
    """All at once, over two processes: they share trips, and each is counted."""
    hour = "20/hour"
    async with limiting(redis_url, rate_limit_read=hour) as one, limiting(redis_url, rate_limit_read=hour) as two:
        allowed = await asyncio.gather(*(count((one, two)[i % 2], USER, 1) for i in range(640)))
    assert sum(allowed) == 20


async def test_a_window_that_is_over_lets_through_again(redis_url: str) -> None:
    async with limiting(redis_url, rate_limit_read="2/second") as rates:
        assert await count(rates, USER, 3) >= 2  # three, if a second was over before the third
        async with asyncio.timeout(60):
            while not await count(rates, USER, 1):  # noqa: ASYNC110 nothing tells when a window ends
                await asyncio.sleep(0.05)


async def test_the_window_before_counts_for_what_lies_less_than_a_window_back(redis: Redis, redis_url: str) -> None:
    """4 of 10 in a window that ended half a window ago count as 2, and fewer as time goes on."""
    async with limiting(redis_url, rate_limit_read="10/hour") as rates:
        await rates.check(USER, "read")
        (key,) = await redis.keys()
        seconds, _ = await redis.time()
        await redis.set(key, f"{(seconds - 5401) * 1000} 9 4")
        headers = await rates.check(USER, "read")
        assert headers["RateLimit-Remaining"] == "8"  # the 9 of two windows ago are forgotten
        assert 890 <= int(headers["RateLimit-Reset"]) <= 900  # one of the 4 no longer counts
        assert await count(rates, USER, 20) == 8
        assert 1_700 <= await redis.ttl(key) - 3600 <= 1_799
        await redis.set(key, f"{(seconds - 7201) * 1000} 9 10")
        assert await count(rates, USER, 20) == 10


async def test_redis_that_was_started_anew_learns_the_script_again(redis: Redis, redis_url: str) -> None:
    async with limiting(redis_url, rate_limit_read="3/hour") as rates:
        assert await count(rates, USER, 1) == 1
        await redis.script_flush()
        assert sum(await asyncio.gather(*(count(rates, USER, 1) for _ in range(5)))) == 2


@pytest.mark.parametrize(
    ("text", "amount", "seconds"),
    [("100/minute", 100, 60), ("6000 per 5 minutes", 6000, 300), ("1/day", 1, 86_400), ("2 per 3 hours", 2, 10_800)],
)
def test_a_rate_that_is_one(text: str, amount: int, seconds: int) -> None:
    assert Settings(_env_file=None, rate_limit_read=text).rate_limit_read == text
    assert parse(text) == (text, amount, seconds)


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
