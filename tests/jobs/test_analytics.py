"""Rollups: the same rows whatever order, batches and passes; the same answers as from all actions at once."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from db import stored_catalog
from jobs import catalog as catalogs
from jobs.action import BOT, Action
from jobs.analytics import answers, cells, conversion, counted, counting, overview, paths, performance, popular, rolling
from jobs.analytics.answers import Span
from tests.jobs import oracle
from tests.jobs.making import NOW, cuts, make, named, wandering
from tests.jobs.reckoning import DAY, World, nearest_rank
from tests.jobs.test_tracking import items, savepoint, split
from worker import apply

TABLES = {
    "rollups": "grain, measure, start, key, n, total, most",
    "session_rollups": "session_id, visitor, hour, counted",
    "visitor_hours": "visitor, hour, sessions",
    "configurations": "digest, body",
    "daily_analytics": "day, sessions, interactions, unique_users, completed_configurations, conversion_rate, "
    "average_session_duration_ms, drop_off, prices",
}
BUY = [
    {"title": "start"},
    {"title": "size", "category": "size"},
    {"title": "a", "category": "colour", "value": "a"},
    {"title": "saved", "kind": "configuration.saved"},
    {"title": "order", "trigger": "order_attempt"},
]
SEEN = [{"title": "page", "path": "/"}, {"title": "seen", "event": "seen"}, {"title": "seen again", "event": "seen"}]
CATALOG = f"""
[analytics]
categories = ["size", "colour"]
[[funnels]]
name = "buy"
window = 3600
steps = {json.dumps(BUY).replace('": ', '" = ')}
[[funnels]]
name = "seen"
window = 1800
steps = {json.dumps(SEEN).replace('": ', '" = ')}
"""
DEFAULT = [
    {"title": "start"},
    {"title": "size", "category": "size"},
    {"title": "colour", "category": "colour"},
    {"title": "order attempt", "trigger": "order_attempt"},
]
FUNNELS = {"default": (DEFAULT, DAY), "buy": (BUY, timedelta(hours=1)), "seen": (SEEN, timedelta(minutes=30))}

LATELY = answers.span(NOW - 3 * DAY, NOW, NOW)

_few = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@st.composite
def visits(draw: st.DrawFn) -> list[Action]:
    """Actions of named sessions over some weeks, and metrics of no session."""
    actions = draw(named())
    away = {key: draw(st.sampled_from([0, 0, 1, 2, 8, 21])) for key in "xyz"}
    moved = [msgspec.structs.replace(a, at=a.at - away[a.session_id or "x"] * DAY) for a in actions]
    values = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, -0.0, 1e308, -1e308, 5e-324, 120.5]))
    bots = draw(st.sets(st.sampled_from([0, 7, 11]), max_size=1))
    moved = [msgspec.structs.replace(a, flags=BOT) if n in bots else a for n, a in enumerate(moved)]
    for n, value in enumerate(draw(st.lists(values, max_size=6))):
        moved.append(_metric(f"m{n}", value, NOW - draw(st.integers(0, 50)) * timedelta(hours=1)))
    return moved


def _metric(action_id: str, value: float, at: datetime, name: str = "lcp") -> Action:
    data = {"metricName": name, "value": value}
    made = make(action_id, "metric.recorded", data, at=at)
    return msgspec.structs.replace(made, session_id=None, subject="metric:7")


async def record(conn: asyncpg.Connection, batch: Sequence[Action]) -> None:
    """One batch, as a worker records it."""
    if batch:
        await apply.record(conn, items(batch), NOW - 30 * DAY, replay=True)


async def rolled(conn: asyncpg.Connection, now: datetime = NOW) -> int:
    """Passes until nothing is left; the sessions that were looked at."""
    number = 0
    while True:
        done = await rolling.roll(conn, now)
        number += done.sessions
        if done.is_done:
            return number


async def rows(conn: asyncpg.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that is made of actions, but for when and how often it was revised."""
    return {
        table: [tuple(row) for row in await conn.fetch(f"SELECT {columns} FROM {table} ORDER BY {columns}")]
        for table, columns in TABLES.items()
    }


async def world(conn: asyncpg.Connection, actions: Sequence[Action], *, bots: bool = False) -> World:
    """The actions, with the sessions that their facts were given; `bots`: theirs, too."""
    given = {}
    for table in ("interaction_events", "configuration_snapshots", "performance_metrics", "tracked_events"):
        for row in await conn.fetch(f"SELECT subject, id, session_id FROM {table}"):
            given[table, row["subject"], row["id"]] = row["session_id"]
    return World(((given[oracle.table(a), a.subject, a.id], a) for a in actions), bots=bots)


@pytest.fixture
async def catalogued(conn: asyncpg.Connection) -> asyncpg.Connection:
    """With funnels of the test's own."""
    await stored_catalog.store(conn, CATALOG)
    return conn


@_few
@given(actions=visits(), seed=st.integers(0, 1000), data=st.data())
async def test_order_batches_and_passes_change_nothing(
    catalogued: asyncpg.Connection, actions: list[Action], seed: int, data: st.DataObject
) -> None:
    conn = catalogued
    async with savepoint(conn):
        await record(conn, actions)
        await rolled(conn)
        whole = await rows(conn)
        assert await rolled(conn) == 0
    told = actions + random.Random(seed).sample(actions, len(actions) // 2)
    random.Random(seed).shuffle(told)
    async with savepoint(conn):
        for batch in split(told, data.draw(cuts(len(told)))):
            await record(conn, batch)
            if data.draw(st.booleans()):
                await rolling.roll(conn, NOW)
        await rolled(conn)
        parts = await rows(conn)
    # A configuration that a session had for a while may still be known; it counts for nothing.
    assert set(whole["configurations"]) <= set(parts.pop("configurations"))
    del whole["configurations"]
    assert parts == whole


@_few
@given(actions=st.one_of(visits(), wandering()), data=st.data())
@example(actions=[], data=None)
@example(actions=[_metric("m", -1e308, NOW)], data=None)
async def test_answers_are_those_of_all_actions_at_once(
    catalogued: asyncpg.Connection, actions: list[Action], data: st.DataObject | None
) -> None:
    conn = catalogued
    days = [0, 30] if data is None else sorted(data.draw(st.lists(st.integers(-1, 30), min_size=2, max_size=2)))
    midnight = NOW.replace(hour=0, minute=0, second=0)
    async with savepoint(conn):
        for batch in split(actions, [] if data is None else data.draw(cuts(len(actions)))):
            await record(conn, batch)
            await rolled(conn)
        for bots in (False, True):
            expected = await world(conn, actions, bots=bots)
            for wanted in (
                Span("day", midnight - days[1] * DAY, midnight - days[0] * DAY + DAY),
                Span("hour", midnight - DAY, midnight + DAY),
            ):
                await compare(conn, wanted, expected, bots=bots)
            await compare_popular(conn, expected, bots=bots)
        await compare_all_time(conn, await world(conn, actions))


async def compare(conn: asyncpg.Connection, wanted: Span, expected: World, *, bots: bool) -> None:
    """Every answer of a range."""
    _, begin, end = wanted
    told = await overview.read(conn, wanted, bots=bots)
    wants = expected.overview(begin, end)
    assert told["bots"] == (0 if bots else sum(begin <= row["at"] < end for row in expected.bots))
    shown = ("sessions", "uniqueUsers", "interactions", "completedConfigurations", "conversionRate")
    assert {name: told[name] for name in shown} == {name: wants[name] for name in shown}
    assert abs(told["averageSessionDurationMs"] - wants["averageSessionDurationMs"]) <= 1
    assert {one["category"]: one["sessions"] for one in told["dropOffPoints"]} == wants["dropOffPoints"]
    assert {one["from"]: one["sessions"] for one in told["priceDistribution"]} == wants["prices"]
    assert {one["device"]: one["sessions"] for one in told["devices"]} == wants["devices"]
    for name in ("sessions", "interactions", "completedConfigurations"):
        assert sum(point[name] for point in told["series"]) == told[name]
    assert [point["start"] for point in told["series"]] == wanted.starts()
    catalog = catalogs.parse(CATALOG)
    for name, (steps, window) in FUNNELS.items():
        chosen = conversion.named(catalog, name)
        assert chosen is not None
        found = await conversion.read(conn, wanted, chosen, bots=bots)
        for step, wants_step in zip(found["steps"], expected.funnel(steps, window, begin, end), strict=True):
            assert step["entered"] == wants_step["entered"], (name, step)
            close(step["medianTimeToNextMs"], wants_step["gaps"], 0.5, 0.5)
    await compare_paths(conn, wanted, expected, bots=bots)
    for metric in ("lcp", "load"):
        values = expected.values(metric, begin, end)
        figures = await performance.read(conn, wanted, metric)
        assert (figures["count"], figures["max"]) == (len(values), max(values, default=None))
        for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            close(figures[name], [max(-1e15, min(value, 1e15)) for value in values], q)


async def compare_paths(conn: asyncpg.Connection, wanted: Span, expected: World, *, bots: bool) -> None:
    """All of them, and the most frequent when only some are read of each day."""
    wants = {(a or "start", b or "end"): n for (a, b), n in expected.paths(*wanted[1:]).items()}
    went = await paths.read(conn, wanted, 1000, bots=bots)
    assert {(one["from"], one["to"]): one["times"] for one in went["steps"]} == wants
    assert went["missedAtMost"] == 0
    left: Counter[str] = Counter()
    for (before, _), n in wants.items():
        left[before] += n
    for one in went["steps"]:
        assert one["share"] == round(one["times"] / left[one["from"]], 6)
    for most, limit in ((1, 1), (2, 2), (3, 5)):
        some = await paths.read(conn, wanted, limit, bots=bots, most=most)
        found = {(one["from"], one["to"]): one["times"] for one in some["steps"]}
        assert found == {key: wants[key] for key in found}
        last = min(found.values(), default=0) + some["missedAtMost"]
        assert all(n <= last for key, n in wants.items() if key not in found)


def close(found: float | None, values: list[float], q: float, absolute: float = 1e-9) -> None:
    """Within 1 % of the exact quantile, and nothing of nothing."""
    if not values:
        assert found is None
    else:
        assert found == pytest.approx(nearest_rank(values, q), rel=cells.ACCURACY * 1.0001, abs=absolute)


async def compare_all_time(conn: asyncpg.Connection, expected: World) -> None:
    """Answers without a range, and the table of days."""
    told = await answers.retention(conn, NOW)
    found = {
        one["week"]: {each["week"]: each["visitors"] for each in one["retained"] if each["visitors"]}
        for one in told["cohorts"]
        if one["visitors"]
    }
    assert found == expected.retention()
    names = "day, sessions, interactions, unique_users, completed_configurations"
    days = {row["day"]: tuple(row)[1:] for row in await conn.fetch(f"SELECT {names} FROM daily_analytics")}
    assert days == expected.days()


async def compare_popular(conn: asyncpg.Connection, expected: World, *, bots: bool) -> None:
    """All configurations and choices, and the most frequent of them."""
    configurations, choices = expected.configurations(), expected.choices()
    most = await popular.read(conn, 100, bots=bots)
    assert {
        json.dumps(json.loads(bytes(one["configuration"])), sort_keys=True): one["sessions"]
        for one in most["configurations"]
    } == configurations
    assert most["configuredSessions"] == configurations.total()
    assert {
        (one["category"], each["value"]): each["sessions"] for one in most["categories"] for each in one["values"]
    } == choices
    some = await popular.read(conn, 1, bots=bots)
    assert [one["sessions"] for one in some["configurations"]] == [n for _, n in configurations.most_common(1)]
    for one in some["categories"]:
        own = [n for (category, _), n in choices.items() if category == one["category"]]
        (value,) = one["values"]
        assert (value["sessions"], value["share"]) == (max(own), round(max(own) / sum(own), 6))


async def test_a_late_action_revises_its_day(conn: asyncpg.Connection) -> None:
    day = (NOW - 5 * DAY).replace(hour=12)
    await record(conn, [make("a", at=day, session_id="s", user_id="ada")])
    await rolled(conn)
    query = "SELECT interactions, unique_users, drop_off, revision FROM daily_analytics WHERE day = $1"
    assert tuple(await conn.fetchrow(query, day.date())) == (1, 1, '{"colour": 1}', 0)
    await record(conn, [make("b", at=day + timedelta(hours=1), received_at=NOW - DAY, session_id="s", user_id="eve")])
    await record(conn, [make("c", at=day, session_id="t", user_id="ada", data={"eventType": "click", "category": "x"})])
    await rolled(conn)
    assert tuple(await conn.fetchrow(query, day.date())) == (3, 2, '{"x": 1, "colour": 1}', 1)
    await rolled(conn)
    assert await conn.fetchval("SELECT revision FROM daily_analytics WHERE day = $1", day.date()) == 1


@pytest.mark.parametrize("turn", [1, 7])
async def test_facts_that_are_taken_up_in_turns_count_the_same(
    catalogued: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    conn, rng = catalogued, random.Random(3)
    chose = [{"eventType": "selection", "category": c, "selectionValue": v} for c in ("size", "colour") for v in "ab"]
    saved = {"configuration": {"a": 1}, "trigger": "order_attempt"}
    actions = [
        make(
            f"a{n}", data=rng.choice(chose), at=NOW - timedelta(seconds=rng.randrange(60)), session_id=rng.choice("st")
        )
        for n in range(40)
    ]
    actions += [make(f"c{n}", "configuration.saved", saved, at=NOW, session_id="s") for n in range(3)]
    found = []
    for size in (1000, turn):
        monkeypatch.setattr(counting, "TURN", size)
        monkeypatch.setattr(counting, "TURN_BYTES", size)
        async with savepoint(conn):
            await record(conn, actions)
            await rolled(conn)
            found.append(await rows(conn))
    assert found[0] == found[1]


async def test_a_machine_s_choices_are_counted_up_to_a_bound(
    conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counted, "CHOICES_MOST", 2)
    for n, (category, value) in enumerate([("a", "x"), ("b", "x"), ("c", "x"), ("a", "y"), ("c", "y")]):
        data = {"eventType": "selection", "category": category, "selectionValue": value}
        await record(conn, [make(f"a{n}", data=data, at=NOW + timedelta(seconds=n), session_id="s")])
    await rolled(conn)
    told = (await popular.read(conn, 10))["categories"]
    assert [(one["category"], one["values"][0]["value"]) for one in told] == [("a", "y"), ("b", "x")]


async def test_a_pass_that_dies_changes_nothing(conn: asyncpg.Connection) -> None:
    await record(conn, [make("a", session_id="s"), _metric("m", 3.5, NOW)])
    before = await rows(conn)

    class Died(Exception):
        pass

    async def die() -> None:
        async with conn.transaction():
            await rolled(conn)
            assert await rows(conn) != before
            raise Died

    with pytest.raises(Died):
        await die()
    assert await rows(conn) == before
    assert await rolled(conn) == 1
    once = await rows(conn)
    assert await rolled(conn) == 0
    assert await rows(conn) == once


async def test_names_of_any_length_and_kind_are_counted(conn: asyncpg.Connection) -> None:
    rng = random.Random(1)
    letters = [chr(code) for code in (*range(1, 32), *range(0x1F600, 0x1F640), *b"<>\"'\\&")]
    long = ["".join(rng.choices(letters, k=2048)) for _ in range(2)]
    actions = [
        make(f"a{n}", data={"eventType": "selection", "category": name[:256], "selectionValue": name}, session_id="s")
        for n, name in enumerate(long)
    ]
    actions += [make(f"p{n}", "page.viewed", {"path": name}, session_id="s") for n, name in enumerate(long)]
    actions += [_metric(f"m{n}", 1e308, NOW, name[:256]) for n, name in enumerate(long)]
    path = {"metricName": "api_response_time", "value": 1.0, "additionalData": {"path": long[0]}}
    actions.append(make("path", "metric.recorded", path, session_id="s"))
    await record(conn, actions)
    await rolled(conn)
    told = await popular.read(conn, 10)
    assert [len(one["values"]) for one in told["categories"]] == [1, 1]
    figures = await performance.read(conn, LATELY, long[0][:256])
    assert (figures["count"], figures["mean"], figures["max"]) == (1, 1e15, 1e308)


async def test_facts_that_retention_dropped_stay_counted(conn: asyncpg.Connection) -> None:
    at = NOW - timedelta(hours=3)
    chose = {"eventType": "selection", "category": "size", "selectionValue": "a"}
    saved = {"configuration": {"a": 1}, "trigger": "order_attempt", "totalPrice": 12.0}
    await record(
        conn,
        [
            make("a", data=chose, at=at, session_id="s"),
            make("b", "configuration.saved", saved, at=at + timedelta(minutes=1), session_id="s"),
        ],
    )
    await rolled(conn)
    wanted = LATELY
    before = await overview.read(conn, wanted), await popular.read(conn, 5), await paths.read(conn, wanted, 5)
    for table in ("interaction_events", "configuration_snapshots"):
        await conn.execute(f"DELETE FROM {table}")
    # What retention leaves behind: a session that began to arrive before the oldest day of facts.
    await conn.execute("UPDATE user_sessions SET received_at = received_at - interval '10 days'")
    await record(conn, [make("c", "page.viewed", {"path": "/late"}, at=at + timedelta(minutes=2), session_id="s")])
    await rolled(conn)
    after = await overview.read(conn, wanted), await popular.read(conn, 5), await paths.read(conn, wanted, 5)
    assert after == before
    actions = await conn.fetch("SELECT key, n FROM rollups WHERE grain = 'day' AND measure = 'actions'")
    assert dict(map(tuple, actions)) == {"interaction.recorded": 1, "configuration.saved": 1, "page.viewed": 1}


async def test_changed_funnels_are_reckoned_anew_some_sessions_at_a_time(
    conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling, "SESSIONS", 2)
    monkeypatch.setattr(rolling, "PAGES", 1)
    pages = [make(f"a{n}", "page.viewed", {"path": "/"}, session_id=f"s{n}") for n in range(5)]
    await record(conn, pages)
    await rolled(conn)
    while await rolling.follow_funnels(conn, NOW):
        await rolled(conn)
    assert await rolling.follow_funnels(conn, NOW) == 0
    await stored_catalog.store(conn, CATALOG)
    noted = []
    while number := await rolling.follow_funnels(conn, NOW):
        noted.append(number)
        await rolled(conn)
    assert noted == [2, 2, 1]
    chosen = conversion.named(catalogs.parse(CATALOG), "seen")
    assert chosen is not None
    told = await conversion.read(conn, LATELY, chosen)
    assert [step["entered"] for step in told["steps"]] == [5, 0, 0]


async def test_a_session_of_many_facts_has_its_turn_once_a_minute(
    conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling, "OFTEN_MOST", 3)
    await record(conn, [make(f"a{n}", session_id="s") for n in range(9)])
    assert await rolled(conn, LATER) == 0
    due = "SELECT sessions, changed_at, is_deferred FROM tracking_changes"
    assert [tuple(row) for row in await conn.fetch(due)] == [(["s"], datetime_of_next_minute(), True)]
    await record(conn, [make("b", session_id="s"), make("c", session_id="t")])
    assert await rolled(conn, LATER) == 1
    assert len(await conn.fetch(due)) == 2
    await conn.execute("UPDATE tracking_changes SET changed_at = now() WHERE is_deferred")
    assert await rolled(conn, LATER) == 1
    assert await conn.fetchval("SELECT sum(n) FROM rollups WHERE grain = 'day' AND measure = 'actions'") == 11


LATER = NOW + timedelta(hours=1)
"""Ahead of the clock, so that what waits for the minute behind it waits while the test runs."""


def datetime_of_next_minute() -> datetime:
    """Behind LATER, which passes are given."""
    return datetime.fromtimestamp(cells.cut(LATER.timestamp(), "minute") + 60, UTC)


async def test_of_a_machines_session_actions_are_counted_without_reading_them(
    conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions = [
        make(f"a{n}", kind, data, session_id="s", at=NOW - n * timedelta(minutes=1)) for n, (kind, data) in KINDS
    ]
    await record(conn, actions)
    await rolled(conn)
    read = "SELECT * FROM rollups WHERE measure IN ('sessions', 'actions', 'configuration') ORDER BY 1, 2, 3, 4"
    before = await conn.fetch(read)
    monkeypatch.setattr(counting, "READ_MOST", 3)
    await conn.execute("INSERT INTO tracking_changes (sessions) VALUES ('{s}')")
    assert await rolled(conn) == 1
    assert await conn.fetch(read) == before
    assert await conn.fetchval("SELECT count(*) FROM rollups WHERE measure IN ('next', 'choice')") == 0


KINDS: list[tuple[int, tuple[str, dict[str, Any]]]] = list(
    enumerate(
        [
            ("interaction.recorded", {"eventType": "click", "category": "x", "selectionValue": "v"}),
            ("configuration.saved", {"configuration": {"a": 1}, "trigger": "auto_save"}),
            ("metric.recorded", {"metricName": "lcp", "value": 1.5}),
            ("page.viewed", {"path": "/"}),
            ("event.tracked", {"event": "seen"}),
            ("user.identified", {}),
            ("session.ended", {}),
        ]
    )
)
