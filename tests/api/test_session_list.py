"""The list of sessions: page after page, each once, whatever begins meanwhile; without bots unless they are wanted."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from db import sql
from db.settings import Settings
from jobs.tracking.facts import Sessions
from jobs.tracking.session import Session
from tests.api.service import Answer, Service, running
from tests.api.test_analytics import click, rolled

PATH = "/api/admin/analytics/sessions"
ODD = ("a b&c=d#e?f+g%", "ünï💡", "S0", "s0", "x" * 128)
NOW = datetime.now(UTC)


@pytest.fixture
async def pipe(settings: Settings) -> AsyncIterator[Service]:
    """With a database of the test's own, for the list has everything."""
    async with running(settings, draining=True) as service:
        yield service


async def begin(service: Service, ids: list[str], at: datetime, *, is_bot: bool = False) -> None:
    """Rows of sessions that all began at one moment."""
    await service.sql.execute(
        "INSERT INTO user_sessions (session_id, subject, at, last_at, received_at, interactions, snapshots, "
        "page_views, events, metrics, is_bot) SELECT s, 'session:' || s, $2, $2, $2, 1, 0, 0, 0, 0, $3 "
        "FROM unnest($1::text[]) s",
        *(ids, at, is_bot),
    )


async def ask(service: Service, **query: str) -> Answer:
    """By an admin."""
    key = await service.make_key("admin")
    async with service.client.get(PATH, params=query, headers={"Authorization": f"Bearer {key}"}) as response:
        return Answer(response.status, await response.json(), response.headers)


async def walked(service: Service, **query: str) -> list[list[str]]:
    """The ids of every page."""
    pages, cursor = [], None
    while True:
        body = (await ask(service, **query, **({"cursor": cursor} if cursor else {}))).body
        pages.append([one["sessionId"] for one in body["sessions"]])
        cursor = body["cursor"]
        if cursor is None:
            return pages


async def test_every_session_once(pipe: Service) -> None:
    """Many began at the same moment, and their ids are any text."""
    moment = NOW - timedelta(minutes=5)
    ids = [*ODD, *(f"t{n}" for n in range(8))]
    await begin(pipe, ids, moment)
    await begin(pipe, ["first"], moment - timedelta(hours=1))
    await begin(pipe, ["last"], moment + timedelta(microseconds=1))
    await begin(pipe, ["before"], NOW - timedelta(days=3))
    wanted = ["last", *sorted(ids, key=str.encode, reverse=True), "first"]
    for limit in (1, 2, 5, 15, 200):
        pages = await walked(pipe, limit=str(limit))
        assert [one for page in pages for one in page] == wanted, limit
        assert {len(page) for page in pages[:-1]} <= {limit}
        assert pages[-1], "no page is empty"


async def test_what_begins_meanwhile_moves_nothing(pipe: Service) -> None:
    await begin(pipe, ["a", "b", "c", "d"], NOW - timedelta(minutes=5))
    body = (await ask(pipe, limit="2")).body
    await begin(pipe, ["new"], NOW)
    await begin(pipe, ["e"], NOW - timedelta(minutes=5))
    behind = (await ask(pipe, limit="2", cursor=body["cursor"])).body
    assert [[one["sessionId"] for one in page["sessions"]] for page in (body, behind)] == [["d", "c"], ["b", "a"]]
    assert behind["cursor"] is None


async def test_a_cursor_stays_in_the_range(pipe: Service) -> None:
    """Of another range, it neither leaves its own nor goes back."""
    await begin(pipe, ["today"], NOW)
    await begin(pipe, ["old", "old-2"], NOW - timedelta(days=20))
    cursor = (await ask(pipe, limit="1", timeRange="30d")).body["cursor"]
    assert await walked(pipe, cursor=cursor, timeRange="24h") == [[]]
    end = (NOW - timedelta(days=10)).isoformat()
    begun = {"from": (NOW - timedelta(days=25)).isoformat(), "to": end}
    body = (await ask(pipe, cursor=cursor, **begun)).body
    assert [one["sessionId"] for one in body["sessions"]] == ["old-2", "old"]


async def test_sessions_of_another_century(pipe: Service) -> None:
    year = datetime(1950, 3, 1, tzinfo=UTC)
    await begin(pipe, ["x", "y"], year)
    query = {"from": year.isoformat(), "to": (year + timedelta(days=1)).isoformat(), "limit": "1"}
    assert await walked(pipe, **query) == [["y"], ["x"]]


async def test_bots_are_left_out_and_told(pipe: Service) -> None:
    at = NOW - timedelta(minutes=1)
    actions = [click("person", "nest", at), click("bot-1", "nest", at), click("bot-2", "nest", at)]
    for action in actions:
        agent = "curlbot/1.0 (+http://example.org/bot)" if action["sessionId"].startswith("bot") else "Mozilla/5.0"
        token = pipe.token("ann", aud="milepost", scope="ingest")
        await pipe.settle(await pipe.send(action, by=token, User_Agent=agent))
    await rolled(pipe)
    for query in ({}, {"bots": "exclude"}):
        body = (await ask(pipe, **query)).body
        assert [(one["sessionId"], one["isBot"]) for one in body["sessions"]] == [("person", False)]
        assert (body["bots"], body["grain"]) == (2, "hour")
    body = (await ask(pipe, bots="include")).body
    assert [(one["sessionId"], one["isBot"]) for one in body["sessions"]] == [
        ("person", False),
        ("bot-2", True),
        ("bot-1", True),
    ]
    assert body["bots"] == 0
    assert await walked(pipe, bots="include", limit="1") == [["person"], ["bot-2"], ["bot-1"]]
    assert (await ask(pipe, timeRange="7d")).body["bots"] == 2


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "%", "é", "0." + "0" * 32, "\x00", "A" * 5000]
    + [
        base64.urlsafe_b64encode(text).decode()
        for text in (b"1", b"x.s", b"1.\x00", b"1.\xff", b"1.\xed\xa0\x80", b"9" * 30 + b".s", b"9" * 5000 + b".s")
    ],
)
async def test_what_is_no_cursor(service: Service, cursor: str) -> None:
    answer = await ask(service, cursor=cursor)
    assert (answer.status, answer.error["code"]) == (400, "invalid_parameter")
    assert answer.error["details"] == {"path": "cursor"}


async def test_wrong_bots(service: Service) -> None:
    for text in ("", "yes", "INCLUDE", "exclude,include"):
        answer = await ask(service, bots=text)
        assert (answer.status, answer.error["details"]) == (400, {"path": "bots"}), text


async def test_it_is_read_by_the_index(pipe: Service) -> None:
    """Whoever there are more of: a page reads about as many rows as it has."""
    query = sql.read("admin")["latest_sessions"]
    for name, number, is_bot in (("p", 300, False), ("b", 4000, True)):
        await begin(pipe, [f"{name}{n}" for n in range(number)], NOW, is_bot=is_bot)
    await pipe.sql.execute("ANALYZE user_sessions")
    place = (NOW - timedelta(days=90), NOW + timedelta(hours=1), "")
    for robots in ([False], [False, True]):
        found = await pipe.sql.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *place, 51, robots)
        assert read(json.loads(found)[0]["Plan"]) <= 51 * len(robots), robots


def read(plan: dict[str, Any]) -> int:
    """The rows that were taken from the table, those that a filter dropped among them."""
    own = 0
    if plan.get("Relation Name") == "user_sessions":
        own = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return int(own) + sum(read(one) for one in plan.get("Plans", []))


async def test_a_batch_moves_no_entry_of_an_index(pipe: Service) -> None:
    """What a session gains leaves its row where the indexes find it (HOT)."""
    rows = [Session(f"s{n}", f"session:s{n}", NOW, NOW, NOW) for n in range(10)]
    later = [msgspec.structs.replace(row, last_at=NOW + timedelta(minutes=1), interactions=2) for row in rows]
    async with pipe.sql.acquire() as conn, conn.transaction():
        for states in (rows, later):
            await Sessions().save(conn, states)
        moved = await conn.fetchrow(
            "SELECT pg_stat_get_xact_tuples_updated(t), pg_stat_get_xact_tuples_hot_updated(t) "
            "FROM CAST('user_sessions' AS regclass) AS t"
        )
    assert tuple(moved) == (10, 10)
