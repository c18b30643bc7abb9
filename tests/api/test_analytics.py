"""Analytics over HTTP: who may ask, what is refused, and what one session looks like in every answer."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from api.analytics import real_time
from api.analytics.real_time import WATCH, Watch
from db import stored_catalog
from db.settings import Settings
from jobs.analytics import journey, overview, popular, rolling
from tests.api.listening import Stream
from tests.api.service import Answer, Service, running

pytestmark = pytest.mark.usefixtures("quiet")

BASE = "/api/admin/analytics"
PATHS = (
    *("overview?bots=include", "sessions"),
    *("overview", "conversion-funnel", "popular-configs", "performance", "retention", "paths", "real-time"),
    "user-journey?sessionId=s-1",
)
COUNTED = ("overview", "conversion-funnel", "popular-configs", "paths")
"""Answers that count sessions, with or without bots."""
HOSTILE = [
    *("<script>alert(1)</script>", "\x00", "\x1b[31m", "%ff", "'; DROP TABLE rollups; --", "a" * 4000, "\u202e"),
    "",
]


@pytest.fixture
async def ours(settings: Settings) -> AsyncIterator[Service]:
    """An API with a database of the test's own, since analytics are of everything that is there."""
    async with running(settings, draining=True) as service:
        yield service


async def rolled(service: Service) -> None:
    """Passes until nothing is left."""
    done = False
    while not done:
        async with service.sql.acquire() as conn, conn.transaction():
            done = (await rolling.roll(conn, datetime.now(UTC))).is_done


async def told(service: Service, *actions: dict[str, Any]) -> None:
    """Sent, applied, rolled up."""
    answer = await service.send({"actions": list(actions)})
    assert answer.status == 202, answer
    assert answer.body["rejected"] == [], answer.body
    await service.settle(answer)
    await rolled(service)


async def ask(service: Service, path: str, *, by: str | None = None, **query: str) -> Answer:
    """By an admin; who asks often brings a key, since look-ups of new ones are bounded."""
    given = "&".join(f"{name}={quote(value, safe='%' if value == '%ff' else '')}" for name, value in query.items())
    return await service.get(f"{BASE}/{path}{'?' if given else ''}{given}", by=by or await service.make_key("admin"))


def click(session: str, category: str, at: datetime, value: str | None = None, **more: Any) -> dict[str, Any]:
    """An interaction."""
    data = {"eventType": "selection", "category": category} | ({} if value is None else {"selectionValue": value})
    head = {"kind": "interaction.recorded", "sessionId": session, "at": at.isoformat(), **more}
    return head | {"data": data}


def saved(session: str, configuration: Any, at: datetime, trigger: str = "auto_save", **more: Any) -> dict[str, Any]:
    """A configuration."""
    data = {"configuration": configuration, "trigger": trigger, **more}
    return {"kind": "configuration.saved", "sessionId": session, "at": at.isoformat(), "data": data}


async def test_one_order_in_every_answer(ours: Service) -> None:
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=2)
    second = timedelta(seconds=1)
    await told(
        ours,
        click("s-1", "nest", begin, "oak", userId="ada"),
        click("s-1", "fenster", begin + 5 * second, "big"),
        click("s-1", "nest", begin + 9 * second, "elm"),
        saved("s-1", {"b": 2.0, "a": 1}, begin + 10 * second, totalPrice=125.0),
        saved("s-1", {"a": 1, "b": 3}, begin + 20 * second, "order_attempt", totalPrice=130.5),
        click("s-2", "fenster", begin + 3 * second, anonymousId="x"),
        saved("s-3", {"b": 3, "a": 1.0}, begin),
    )
    overview = (await ask(ours, "overview", timeRange="24h")).body
    assert {name: overview[name] for name in ("sessions", "interactions", "uniqueUsers")} == {
        "sessions": 3,
        "interactions": 4,
        "uniqueUsers": 3,
    }
    assert (overview["conversionRate"], overview["averageSessionDurationMs"]) == (0.333333, 6667)
    assert overview["dropOffPoints"] == [
        {"category": None, "sessions": 1, "share": 0.333333},
        {"category": "fenster", "sessions": 1, "share": 0.333333},
    ]
    assert overview["priceDistribution"] == [{"from": 120, "to": 150, "sessions": 1, "share": 1.0}]
    assert overview["grain"] == "hour"
    funnel = (await ask(ours, "conversion-funnel")).body
    assert [(step["step"], step["entered"]) for step in funnel["steps"]][:3] == [
        ("start", 3),
        ("nest", 1),
        ("gebaeudehuelle", 0),
    ]
    popular = (await ask(ours, "popular-configs")).body
    assert popular["configurations"] == [{"configuration": {"a": 1, "b": 3}, "sessions": 2, "share": 1.0}]
    assert {one["category"]: one["values"][0]["value"] for one in popular["categories"]} == {
        "nest": "elm",
        "fenster": "big",
    }
    paths = (await ask(ours, "paths")).body["steps"]
    assert {"from": "nest", "to": "fenster", "times": 1, "share": 0.5} in paths
    retention = (await ask(ours, "retention", weeks="2")).body["cohorts"]  # it may be Monday since a minute
    ((visitors, retained),) = [(one["visitors"], one["retained"]) for one in retention if one["visitors"]]
    assert (visitors, retained[0]) == (3, {"week": 0, "visitors": 3, "share": 1.0})
    steps = (await ask(ours, "user-journey", sessionId="s-1")).body
    assert [step["timeSpentMs"] for step in steps["steps"]] == [5000, 4000, 1000, 10000, None]
    assert steps["steps"][4]["changes"] == [{"path": "$.b", "before": 2.0, "after": 3}]
    assert steps["categories"][0] == {
        "category": "nest",
        "interactions": 2,
        "timeSpentMs": 6000,
        "selections": ["oak", "elm"],
        "changesOfMind": 1,
    }
    assert (steps["stoppedAt"], steps["isCut"]) == (None, False)


async def test_who_may_ask(service: Service) -> None:
    user = service.token("ada", aud="milepost")
    admin = await service.make_key("admin")
    for path in (*(f"{BASE}/{path}" for path in PATHS), "/api/admin/live"):
        assert (await service.get(path, by=None)).status == 401, path
        assert (await service.get(path, by=user)).status == 403, path
        assert (await service.get(path)).status == 403, path
        assert (await service.ask("POST", path, {}, by=admin)).status == 405, path


RANGED = ("overview", "conversion-funnel", "performance", "paths", "sessions")
"""Answers of a range of time."""
RANGES: tuple[dict[str, str], ...] = (
    {"from": "2026-11-02T00:00:00Z", "to": "2026-11-01T00:00:00Z"},
    {"from": "2026-11-01T00:00:00Z", "to": "2026-11-01T00:00:00Z"},
    {"from": "1926-11-01T00:00:00Z", "to": "2026-11-01T00:00:00Z"},
    {"from": "2126-11-01T00:00:00Z"},
    {"to": "2026-11-01T00:00:00Z"},
    {"from": "2026-11-01T00:00:00"},
    {"from": "0001-01-01T00:00:00Z", "to": "0001-01-02T00:00:00Z"},
    {"timeRange": "7d", "from": "2026-11-01T00:00:00Z"},
    {"timeRange": "1y"},
    {"timeRange": "<b>7d</b>"},
)
BAD = [
    *((path, query) for path in RANGED for query in RANGES),
    ("conversion-funnel", {"funnel": "nobodys"}),
    ("user-journey", {}),
    *(
        (path, {"limit": limit})
        for path in ("popular-configs", "paths", "sessions")
        for limit in ("-1", "0", "1000000000", "x", "")
    ),
    *((path, {"bots": text}) for path in COUNTED for text in ("yes", "1", "INCLUDE", "exclude,include", *HOSTILE)),
    *(("retention", {"weeks": weeks}) for weeks in ("0", "53", "-1", "1e1")),
    *(("retention", {"to": text}) for text in HOSTILE),
    *(("conversion-funnel", {"funnel": text}) for text in HOSTILE),
    *(("overview", {"timeRange": text}) for text in HOSTILE),
    *(("overview", {"from": text}) for text in HOSTILE),
]


async def test_what_is_refused_says_where(service: Service) -> None:
    key = await service.make_key("admin")
    for path, query in BAD:
        answer = await ask(service, path, by=key, **query)
        assert (answer.status, answer.error["code"]) == (400, "invalid_parameter"), (path, query, answer)
        assert answer.error["details"]["path"] in {
            "from",
            "to",
            "timeRange",
            "limit",
            "weeks",
            "funnel",
            "sessionId",
            "bots",
        }


async def test_strange_names_are_just_not_there(service: Service) -> None:
    key = await service.make_key("admin")
    for text in HOSTILE[:-1]:
        assert (await ask(service, "user-journey", by=key, sessionId=text)).status == 404, text
        answer = await ask(service, "performance", by=key, metric=text)
        assert answer.status == 200, (text, answer)
        assert (answer.body["count"], answer.body["p99"]) == (0, None), text


async def test_nothing_happened_in_the_past_and_in_the_future(service: Service) -> None:
    key = await service.make_key("admin")
    for year in (1990, 2100):
        query = {"by": key, "from": f"{year}-01-01T00:00:00Z", "to": f"{year}-12-31T00:00:00Z"}
        answer = await ask(service, "overview", **query)
        assert (answer.status, answer.body["sessions"], answer.body["conversionRate"]) == (200, 0, 0.0)
        assert {one["sessions"] for one in answer.body["series"]} == {0}
        funnel = (await ask(service, "conversion-funnel", **query)).body
        assert {(step["entered"], step["medianTimeToNextMs"]) for step in funnel["steps"]} == {(0, None)}
        paths = (await ask(service, "paths", **query)).body
        assert (paths["steps"], paths["missedAtMost"]) == ([], 0)
        figures = (await ask(service, "performance", **query)).body
        assert (figures["count"], figures["mean"], figures["paths"]) == (0, None, [])


async def test_any_number_of_names(ours: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "SHOWN", 3)
    monkeypatch.setattr(popular, "CATEGORIES", 2)
    now = datetime.now(UTC)
    await told(ours, *(click(f"s-{n}", f"c{n % 9}", now, "v") for n in range(30)))
    body = (await ask(ours, "overview")).body
    assert [(one["category"], one["sessions"]) for one in body["dropOffPoints"]] == [("c0", 4), ("c1", 4), ("c2", 4)]
    body = (await ask(ours, "popular-configs")).body
    assert [one["category"] for one in body["categories"]] == ["c0", "c1"]


async def test_a_configuration_of_a_megabyte_is_refused(service: Service) -> None:
    large = {"a": "x" * 1024 * 1024}
    answer = await service.send(saved("s-1", large, datetime.now(UTC)))
    assert (answer.status, answer.error["code"], answer.error["details"]["path"]) == (422, "too_large", "$.data")
    body = {"sessionId": "s-1", "configuration": large, "trigger": "auto_save"}
    answer = await service.ask("POST", "/api/sessions/save-config", body)
    assert (answer.status, answer.error["code"]) == (422, "too_large"), answer


async def test_hostile_content_is_counted_and_shown_as_it_is(ours: Service) -> None:
    now = datetime.now(UTC)
    deep: Any = 1
    for _ in range(14):
        deep = {"a": [deep]}
    text = "<script>alert(1)</script>\x1b\u202e" + "\U0001f600" * 100
    await told(
        ours,
        click("s-1", text, now, text),
        saved("s-1", {"a": "x" * 250_000, text: 1}, now, "page_exit", totalPrice=-1e15),
        saved("s-2", deep, now),
        saved("s-3", {"big": 1e300, "int": 10**300, "b": [1.0, True, None]}, now, totalPrice=1e15),
        {"kind": "metric.recorded", "sessionId": "s-1", "data": {"metricName": text, "value": 1e308}},
        {"kind": "metric.recorded", "sessionId": "s-1", "data": {"metricName": text, "value": 1.7e308}},
        {"kind": "page.viewed", "sessionId": "s-1", "data": {"path": text * 10}},
    )
    overview = (await ask(ours, "overview")).body
    assert [one["category"] for one in overview["dropOffPoints"]] == [None, text]
    figures = (await ask(ours, "performance", metric=text)).body
    assert (figures["count"], figures["mean"], figures["max"], figures["metrics"]) == (2, 1e15, 1.7e308, [text])
    assert figures["p50"] == pytest.approx(1e15, rel=0.01)
    assert len((await ask(ours, "popular-configs")).body["configurations"]) == 3
    assert (await ask(ours, "paths")).status == 200
    for session in ("s-1", "s-2", "s-3"):
        found = await ask(ours, "user-journey", sessionId=session)
        assert (found.status, found.body["finalConfiguration"] is None) == (200, False)


async def test_funnels_of_any_size(ours: Service) -> None:
    """The catalog refuses funnels of none, one and too many steps; one of fifty is reckoned."""
    from jobs import catalog

    def text(steps: int) -> str:
        rows = ", ".join(f'{{title = "{n}", category = "c{n}"}}' for n in range(steps))
        return f'[analytics]\ncategories = []\n[[funnels]]\nname = "long"\nsteps = [{rows}]'

    for steps in (0, 1, 101):
        with pytest.raises(catalog.Wrong):
            catalog.parse(text(steps))
    async with ours.sql.acquire() as conn:
        await stored_catalog.store(conn, text(50))
    await stored_catalog.publish(ours.sql, ours.redis)
    now = datetime.now(UTC)
    await told(ours, *(click("s", f"c{n}", now + timedelta(milliseconds=n)) for n in range(50)))
    async with asyncio.timeout(60):
        while (answer := await ask(ours, "conversion-funnel", funnel="long")).status != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert [step["entered"] for step in answer.body["steps"]] == [1] * 50
    assert (await ask(ours, "conversion-funnel")).body["steps"][0]["step"] == "start"


async def test_what_happens_now(ours: Service) -> None:
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)  # the end of s-3 is not in the next minute
    old = now - timedelta(minutes=7)
    await told(
        ours,
        *(click("s-1", "nest", now - timedelta(seconds=n), id=f"a{n}") for n in range(30)),
        click("s-2", "nest", old),
        click("s-3", "nest", now),
        {"kind": "session.ended", "sessionId": "s-3", "at": (now + timedelta(seconds=1)).isoformat()},
    )
    await ours.state.pace.flush(ours.sql)
    await rolled(ours)
    body = (await ask(ours, "real-time")).body
    assert body["activeSessions"] == 1
    minutes = [datetime.fromisoformat(one["minute"]) for one in body["actionsPerMinute"]]
    assert [b - a for a, b in pairwise(minutes)] == [timedelta(minutes=1)] * 29
    assert sum(one["actions"] for one in body["actionsPerMinute"]) == 33
    assert body["latest"][0]["kind"] == "session.ended"
    assert {one["sessionId"] for one in body["latest"][1:3]} == {"s-1", "s-3"}
    assert [one["sessionId"] for one in body["latest"][3:]] == ["s-1"] * 17
    assert datetime.fromisoformat(body["latest"][1]["at"]) == now
    assert body["latest"][1]["name"] == "nest"
    assert body["api"]["requests"] >= 1
    assert body["api"]["p50Ms"] <= body["api"]["p95Ms"]
    assert [one["partition"] for one in body["partitions"]] == [0, 1, 2, 3]
    assert [one["alive"] for one in body["workers"]] == [True]
    assert body["shedding"] is False
    by_path = (await ask(ours, "performance", timeRange="24h")).body["paths"]
    assert "POST /v1/actions" in [one["path"] for one in by_path]


@asynccontextmanager
async def looking(service: Service, by: str) -> AsyncIterator[Stream]:
    """An open stream."""
    headers = {"Authorization": f"Bearer {by}"}
    async with service.client.get("/api/admin/live", headers=headers, timeout=aiohttp.ClientTimeout()) as response:
        assert response.status == 200, await response.text()
        yield Stream(response)
        response.close()


def watch(service: Service) -> Watch:
    """Of the application."""
    found: Watch = service.client.server.app[WATCH]  # type: ignore[attr-defined]
    return found


async def test_a_stream_of_what_happens_now(ours: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_time, "EVERY_SECONDS", 0.1)
    reckoned = 0
    read = real_time.read

    async def counted(state: Any) -> bytes:
        nonlocal reckoned
        reckoned += 1
        return await read(state)

    monkeypatch.setattr(real_time, "read", counted)
    key = await ours.make_key("admin")
    async with looking(ours, key) as one, looking(ours, key) as other:
        first, same = await one.next("now"), await other.next("now")
        assert first.data.keys() == same.data.keys()
        await told(ours, click("s-1", "nest", datetime.now(UTC)))
        while not (await one.next("now")).data["latest"]:
            pass
        while (seen := await other.next("now")).id != one.last_id and int(seen.id) < int(one.last_id):
            pass
        assert watch(ours).lookers == 2
        assert reckoned <= int(one.last_id) + 2  # once for both
    async with asyncio.timeout(60):
        while watch(ours).lookers:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert watch(ours)._task is None


async def test_a_key_that_is_revoked_looks_no_more(ours: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_time, "EVERY_SECONDS", 0.1)
    monkeypatch.setattr(real_time, "BELIEVE_SECONDS", 0.0)
    monkeypatch.setattr(real_time, "LOOKERS", 1)
    key = await ours.make_key("admin")
    async with looking(ours, key) as stream:
        await stream.next("now")
        full = await ours.get("/api/admin/live", by=key)
        assert (full.status, full.error["code"]) == (503, "streams_full")
        ours.state.auth._believed.clear()
        await ours.sql.execute("UPDATE service_keys SET revoked_at = now() WHERE scopes @> '{admin}'")
        await ours.redis.delete("mp:service_keys")
        closed = await stream.next("closed")
        assert closed.data["code"] in {"unauthorized", "invalid_key"}
        await stream.ended()


async def test_answers_come_from_the_replica_where_there_is_one(settings: Settings, ours: Service) -> None:
    await told(ours, click("s-1", "nest", datetime.now(UTC)))
    async with running(settings.model_copy(update={"read_database_url": settings.database_url})) as other:
        state = other.state
        assert state.answering is state.replica is not state.pool
        for path in PATHS:
            answer = await other.get(f"{BASE}/{path}", by=await other.make_key("admin"))
            assert (answer.status, "appliedThrough" in answer.body) == (200, True), path
        assert state.replica is not None
        assert state.replica.get_size() >= 1
    wrong = settings.model_copy(update={"read_database_url": "postgresql://nobody@127.0.0.1:1/none"})
    async with running(wrong) as other:
        answer = await other.get(f"{BASE}/overview", by=await other.make_key("admin"))
        assert (answer.status, answer.error["code"]) == (503, "database_unavailable")


async def test_what_is_not_rolled_up_yet_is_not_claimed(ours: Service) -> None:
    await told(ours, click("s-1", "nest", datetime.now(UTC)))
    between = datetime.now(UTC)
    answer = await ours.send(click("s-2", "nest", between))
    await ours.settle(answer)
    body = (await ask(ours, "overview")).body
    assert (body["sessions"], datetime.fromisoformat(body["appliedThrough"]) <= between) == (1, True)
    await rolled(ours)
    body = (await ask(ours, "overview")).body
    assert (body["sessions"], datetime.fromisoformat(body["appliedThrough"]) > between) == (2, True)


async def test_a_journey_of_large_configurations_is_cut(ours: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journey, "CONFIGURATION_BYTES", 5000)
    now = datetime.now(UTC)
    letters = [hashlib.sha256(bytes([n])).hexdigest() for n in range(60)]
    await told(ours, *(saved("s", {"n": n, "a": letters[n:]}, now + timedelta(seconds=n)) for n in range(4)))
    body = (await ask(ours, "user-journey", sessionId="s")).body
    assert (body["isCut"], len(body["steps"])) == (True, 4)
    assert 0 < len([step for step in body["steps"] if "changes" in step]) < 4
