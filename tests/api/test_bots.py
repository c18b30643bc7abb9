"""Declared bots are kept and marked, and counted among nobody; people are not taken for one."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.bots import is_bot
from db.settings import Settings
from jobs.action import BOT
from jobs.analytics import rolling
from jobs.rebuild import Rebuild
from tests.api.service import Service, running
from tests.jobs.making import CLICK

BOTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "facebookexternalhit/1.1",
    "Mozilla/5.0 (compatible; Yahoo! Slurp)",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/130.0.0.0 Safari/537.36",
    "UptimeRobot/2.0",
    "AhrefsSiteAudit/6.1; crawler@ahrefs.com",
)
PEOPLE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile Safari/604.1",
    "Mozilla/5.0 (Linux; Android 14; CUBOT KINGKONG) AppleWebKit/537.36 Chrome/129.0 Mobile Safari/537.36",
    "okhttp/4.12.0",
    "python-requests/2.32",
    "",
)


@pytest.mark.parametrize("agent", BOTS)
def test_a_declared_bot(agent: str) -> None:
    assert is_bot(agent)


@pytest.mark.parametrize("agent", PEOPLE)
def test_people_and_libraries_are_none(agent: str) -> None:
    assert not is_bot(agent)


def test_a_hostile_agent_takes_no_time() -> None:
    begun = time.process_time()
    for text in ("a.b@" * 128, "@" * 512, "bo" * 256, "c" * 512):
        is_bot(text)
    assert time.process_time() - begun < 1


@pytest.fixture
async def pipe(settings: Settings) -> AsyncIterator[Service]:
    """Whatever a test posts is applied."""
    async with running(settings, draining=True) as service:
        yield service


def click(session: str) -> dict[str, Any]:
    """One click."""
    return {"kind": "interaction.recorded", "sessionId": session, "data": CLICK}


async def marks(pipe: Service) -> dict[str, bool]:
    """Of every session."""
    return {row[0]: row[1] for row in await pipe.sql.fetch("SELECT session_id, is_bot FROM user_sessions")}


async def test_the_request_of_a_browser_and_the_data_of_a_service(pipe: Service) -> None:
    token = pipe.token("ann", aud="milepost", scope="ingest")
    await pipe.settle(await pipe.send(click("bot"), by=token, User_Agent=BOTS[0]))
    await pipe.settle(await pipe.send(click("person"), by=token, User_Agent=PEOPLE[0]))
    await pipe.settle(await pipe.send(click("service"), User_Agent=BOTS[0]))
    for session, properties in {
        "told": {"userAgent": BOTS[1]},
        "telling": {"userAgent": PEOPLE[1]},
        "odd": {"userAgent": {"userAgent": [BOTS[0]]}},
    }.items():
        data = {"path": "/", "properties": properties}
        await pipe.settle(await pipe.send({"kind": "page.viewed", "sessionId": session, "data": data}))
    wanted = {"bot": True, "person": False, "service": False, "told": True, "telling": False, "odd": False}
    assert await marks(pipe) == wanted
    assert await pipe.sql.fetchval("SELECT flags & $1 FROM interaction_events WHERE session_id = 'bot'", BOT) == BOT
    assert (await pipe.get("/v1/sessions/bot")).body["isBot"] is True


async def test_analytics_counts_people(pipe: Service) -> None:
    token = pipe.token("ann", aud="milepost", scope="ingest")
    await pipe.settle(await pipe.send(click("person"), by=token, User_Agent=PEOPLE[0]))
    await rolled(pipe)
    before = await counted(pipe)
    saved = {"configuration": {"by": "a bot"}, "trigger": "order_attempt"}
    body = [click("bot"), {"kind": "configuration.saved", "sessionId": "bot", "data": saved}]
    await pipe.settle(await pipe.send({"actions": body}, by=token, User_Agent=BOTS[0]))
    await rolled(pipe)
    after = await counted(pipe)
    assert {key: n for key, n in after.items() if not key[1].startswith("bot.")} == before
    assert after["day", "bot.sessions", ""] == 1
    await told_beside(pipe)
    await checked(pipe)
    await pipe.settle(await pipe.send(click("person"), by=token, User_Agent=BOTS[0]))
    await rolled(pipe)
    assert all(key[1].startswith("bot.") for key in await counted(pipe))
    assert (await ask(pipe, "overview"))["bots"] == 2
    await checked(pipe)


async def told_beside(pipe: Service) -> None:
    """One person and one bot in every answer that counts sessions."""
    people, everybody = [await ask(pipe, "overview", bots) for bots in ("exclude", "include")]
    names = ("sessions", "interactions", "uniqueUsers", "completedConfigurations", "bots")
    assert [people[name] for name in names] == [1, 1, 1, 0, 1]
    assert [everybody[name] for name in names] == [2, 2, 2, 1, 0]
    counts: dict[str, Callable[[Any], int]] = {
        "conversion-funnel": lambda body: body["steps"][0]["entered"],
        "popular-configs": lambda body: body["configuredSessions"] + 1,
        "paths": lambda body: max(step["times"] for step in body["steps"]),
    }
    for path, count in counts.items():
        people, everybody = [await ask(pipe, path, bots) for bots in ("exclude", "include")]
        assert [(people["bots"], count(people)), (everybody["bots"], count(everybody))] == [(1, 1), (0, 2)], path
    now = await ask(pipe, "real-time")
    assert (now["activeSessions"], {one["sessionId"] for one in now["latest"]}) == (1, {"person"})


async def ask(pipe: Service, path: str, bots: str | None = None) -> Any:
    """An answer of analytics."""
    given = "" if bots is None else f"?bots={bots}"
    answer = await pipe.get(f"/api/admin/analytics/{path}{given}", by=await pipe.make_key("admin"))
    assert answer.status == 200, answer
    return answer.body


async def checked(pipe: Service) -> None:
    """All states and numbers are what the facts say."""
    differing: list[object] = []
    async with pipe.sql.acquire() as conn, pipe.sql.acquire() as other:
        await Rebuild(conn, other, pipe.redis, True, lambda *found: differing.append(found)).run()
    assert differing == []


async def rolled(pipe: Service) -> None:
    """One pass."""
    async with pipe.sql.acquire() as conn, conn.transaction():
        assert (await rolling.roll(conn, datetime.now(UTC) + timedelta(seconds=1))).is_done


async def counted(pipe: Service) -> dict[tuple[str, str, str], int]:
    """(grain, measure, key) -> n, but for what the API tells of itself every few seconds."""
    query = "SELECT grain, measure, key, n FROM rollups WHERE measure !~ '^(metric|path|called):api'"
    rows = await pipe.sql.fetch(query)
    return {(row["grain"], row["measure"], row["key"]): row["n"] for row in rows}
