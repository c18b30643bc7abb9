"""A metric by path, of which clients name any number: what is told is exact, the rest is told together."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import timedelta

import asyncpg
import pytest

from jobs.action import Action
from jobs.analytics import answers, metrics, performance
from jobs.analytics.answers import Span
from tests.jobs.making import NOW, make
from tests.jobs.test_analytics import record, rolled

ODD = ['/a"b\\', "/ü💡", "/a", "/a,1]", '/a",1]', "/\u2028", "x" * 200, "/:", "/]"]
PATHS = [*ODD, *(f"/p{n}" for n in range(25))]
RANGES = [timedelta(hours=20), timedelta(days=9), timedelta(days=40)]


def measured(number: int, metric: str = "api_response_time") -> list[tuple[str, float, Action]]:
    """(path, value, action); some are of no path."""
    rng, made = random.Random(3), []
    for n in range(number):
        path, value = rng.choices(PATHS, range(1, len(PATHS) + 1))[0], rng.choice([0.0, -2.5, 1.5, 80.0, 900.25])
        path = "" if n % 9 == 0 else path
        data = {"metricName": metric, "value": value, "additionalData": {"path": path + "?q=1"} if path else {"a": 1}}
        at = NOW - timedelta(minutes=rng.choice([rng.randrange(1100), rng.randrange(60 * 24 * 38)]))
        made.append((path, value, make(f"m{n}", "metric.recorded", data, at=at, session_id=f"s{n % 7}")))
    return made


def within(wanted: Span, made: list[tuple[str, float, Action]]) -> dict[str, list[float]]:
    """The values of each path."""
    found: dict[str, list[float]] = defaultdict(list)
    for path, value, action in made:
        if wanted.begin <= action.at < wanted.end:
            found[path].append(value)
    return found


@pytest.mark.parametrize("most", [1, 3, 10, 500])
async def test_what_is_told_is_exact(conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(performance, "PATHS_MOST", 6)
    made = measured(600)
    await record(conn, [action for _, _, action in made])
    await rolled(conn)
    for ago in RANGES:
        wanted = answers.span(NOW - ago, NOW, NOW)
        values = within(wanted, made)
        lone = values.pop("", [])
        figures = await performance.read(conn, wanted, "api_response_time", most)
        told = {one["path"]: one for one in figures["paths"]}
        assert len(told) == min(6, len(values)) or figures["missedAtMost"]
        for path, one in told.items():
            assert (one["count"], one["max"]) == (len(values[path]), max(values[path])), path
            assert one["mean"] == pytest.approx(sum(values[path]) / len(values[path]), abs=1e-9)
        assert [one["count"] for one in figures["paths"]] == sorted((n["count"] for n in told.values()), reverse=True)
        bound = min((one["count"] for one in told.values()), default=0) + figures["missedAtMost"]
        assert all(len(own) <= bound for path, own in values.items() if path not in told)
        rest = [*lone, *(value for path, own in values.items() if path not in told for value in own)]
        assert figures["other"]["count"] == len(rest)
        assert figures["other"]["mean"] == pytest.approx(sum(rest) / len(rest), abs=1e-9)
        assert figures["other"]["p99"] == pytest.approx(sorted(rest)[-(-len(rest) * 99 // 100) - 1], rel=0.011)
        if most == 500:
            assert figures["missedAtMost"] == 0


async def test_what_is_left_beside_huge_values_is_exact(
    conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client can name any value: what it names leaves the mean of the others as it is."""
    monkeypatch.setattr(performance, "PATHS_MOST", 1)
    huge = {"metricName": "api_response_time", "value": 1e15, "additionalData": {"path": "/huge"}}
    usual = {"metricName": "api_response_time", "value": 0.3}
    made = [make(f"m{n}", "metric.recorded", huge if n else usual, at=NOW, session_id="s") for n in range(90)]
    await record(conn, made)
    await rolled(conn)
    figures = await performance.read(conn, answers.span(NOW - RANGES[0], NOW, NOW), "api_response_time")
    assert (figures["other"]["count"], figures["other"]["mean"]) == (1, 0.3)


async def test_a_metric_without_paths_is_all_of_it_other(conn: asyncpg.Connection) -> None:
    await record(conn, [action for _, _, action in measured(20, "lcp")])
    await rolled(conn)
    figures = await performance.read(conn, answers.span(NOW - RANGES[2], NOW, NOW), "lcp")
    assert (figures["paths"], figures["missedAtMost"], figures["other"]["count"]) == ([], 0, figures["count"])
    assert "max" not in figures["other"]


async def test_what_is_taken_back_leaves_nothing(conn: asyncpg.Connection) -> None:
    """As an erasure does it."""
    made = [action for _, _, action in measured(50)]
    await record(conn, made)
    await rolled(conn)
    told = await conn.fetch("SELECT metric_name, value, additional_data, at FROM performance_metrics")
    noted = metrics.noted([tuple(row) for row in told], -1).decode()
    await conn.execute("INSERT INTO tracking_changes (sessions, metrics) VALUES ('{}', $1::jsonb)", noted)
    await rolled(conn)
    left = "SELECT count(*) FROM rollups WHERE measure ~ '^(path|called|metric):api_response_time'"
    assert await conn.fetchval(left) == 0
