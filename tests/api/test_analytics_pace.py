"""The API's own pace: kept as histograms until Postgres takes them, and load shed while it is too slow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import monotonic

import pytest

from api import pace
from api.pace import FLUSH_SECONDS, LEAST, Pace
from db import connect, metrics
from db.settings import Settings
from tests.api.service import Service, running
from tests.api.test_analytics import BASE, rolled

pytestmark = pytest.mark.usefixtures("quiet")

CLICK = {"kind": "interaction.recorded", "sessionId": "s", "data": {"eventType": "click", "category": "x"}}
SAVED = {"kind": "configuration.saved", "sessionId": "s", "data": {"configuration": {}, "trigger": "auto_save"}}
METRIC = {"kind": "metric.recorded", "data": {"metricName": "lcp", "value": 1}}


@pytest.fixture
async def ours(settings: Settings) -> AsyncIterator[Service]:
    """An API with a database of the test's own."""
    async with running(settings, draining=True) as service:
        yield service


def window(of: Pace, fast: int, slow: int, now: float, *, counts: bool = True) -> bool:
    """One window with so many requests; whether it is too slow behind it."""
    of.note("POST /v1/actions", [0.01] * fast + [of.above + 0.01] * slow, 202, counts=counts)
    of.look(now)
    return of.is_slow


def test_more_than_a_twentieth_that_is_late_is_too_slow() -> None:
    of, now = Pace(0.2), monotonic()
    for number, (fast, slow, is_slow) in enumerate(
        [(95, 5, False), (94, 6, True), (100, 0, False), (0, LEAST - 1, False), (0, LEAST, True), (0, 0, False)], 1
    ):
        assert window(of, fast, slow, now + number * FLUSH_SECONDS) is is_slow, (fast, slow)


def test_a_window_is_judged_when_it_is_over() -> None:
    of, now = Pace(0.2), monotonic()
    assert not window(of, 0, 50, now)
    assert window(of, 0, 0, now + FLUSH_SECONDS)


def test_what_waits_for_something_else_and_a_limit_of_0_shed_nothing() -> None:
    assert not window(Pace(0.2), 0, 100, monotonic() + FLUSH_SECONDS, counts=False)
    assert not window(Pace(0), 0, 100, monotonic() + FLUSH_SECONDS)


async def test_shedding_begins_is_told_and_counted_and_ends(ours: Service) -> None:
    of, now = ours.state.pace, monotonic() + FLUSH_SECONDS
    of.above = 0.2
    assert window(of, 0, LEAST, now)
    before = shed()
    answer = await ours.send({"actions": [CLICK, SAVED, METRIC]})
    assert (answer.status, answer.body["accepted"], answer.body["shed"]) == (202, 1, 2)
    answer = await ours.send(CLICK)
    assert (answer.status, answer.body["accepted"], answer.body["shed"]) == (202, 0, 1)
    assert (await ours.send(SAVED)).body["accepted"] == 1
    assert shed() - before == 3
    assert not window(of, LEAST, 0, now + FLUSH_SECONDS)
    answer = await ours.send({"actions": [CLICK, SAVED, METRIC]})
    assert (answer.body["accepted"], answer.body.get("shed", 0)) == (3, 0)
    assert shed() - before == 3


def shed() -> float:
    """Of the exposition."""
    found: float = metrics.SHED.labels("tracking")._value.get()
    return found


async def test_nothing_is_lost_while_postgres_is_away(ours: Service) -> None:
    of = Pace(0.2)
    away = await connect.pool(ours.settings, "test", 1, "postgresql://nobody@127.0.0.1:1/none")
    for n in range(100):
        of.note("GET /own", [n / 1000], 500 if n % 10 == 0 else 200, counts=True)
        if n % 30 == 29:
            with pytest.raises(OSError, match="onnect"):
                await of.flush(away)
    await of.flush(ours.sql)
    await of.flush(ours.sql)
    await rolled(ours)
    key = await ours.make_key("admin")
    times = {one["path"]: one for one in (await ours.get(f"{BASE}/performance?timeRange=24h", by=key)).body["paths"]}
    own = times["GET /own"]
    assert (own["count"], own["max"]) == (100, 99.0)
    assert own["mean"] == pytest.approx(49.5)
    assert own["p50"] == pytest.approx(49, rel=0.01)
    path = f"{BASE}/performance?timeRange=24h&metric=api_error"
    assert (await ours.get(path, by=key)).body["count"] == 10


async def test_what_is_kept_is_bounded(ours: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "MOST_ROWS", 10)
    of = Pace(0.2)
    away = await connect.pool(ours.settings, "test", 1, "postgresql://nobody@127.0.0.1:1/none")
    for n in range(50):
        of.note(f"GET /{n}", [0.01], 200, counts=True)
    with pytest.raises(OSError, match="onnect"):
        await of.flush(away)
    assert len(of._rows) == 10
    await of.flush(ours.sql)
    assert of._rows == {}
    assert isinstance(await ours.sql.fetchval("SELECT metrics::text FROM tracking_changes LIMIT 1"), str)
