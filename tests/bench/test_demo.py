"""The demo as a person sees it, small."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from bench import customers
from bench.traffic import SPAN, simulated
from jobs import catalog, door
from jobs.action import Draft, Rejected, Sender
from jobs.families import KINDS
from jobs.tracking.family import Tracking
from tests.api.service import Service
from tests.bench.test_adapters import TEXT, actions
from tests.jobs.commands import Operator

END = datetime(2026, 11, 21, 12, tzinfo=UTC)


def test_the_same_seed_gives_the_same_traffic() -> None:
    assert simulated(20, end=END, run="a") == simulated(20, end=END, run="a")
    assert simulated(20, end=END, run="a") != simulated(20, 8, END, "a")


def test_it_looks_like_a_configurator() -> None:
    stretch = simulated(200, end=END, run="a")
    sent = actions(stretch)
    kinds = {str(action["kind"]) for action in sent}
    assert kinds >= {kind.name for kind in Tracking.kinds}
    good, codes = 0, set[str]()
    sender = Sender("test", "service", frozenset({"ingest"}))
    for action in sent:
        try:
            door.accept(msgspec.json.decode(json.dumps(action), type=Draft), KINDS, sender, END, catalog.default())
            good += 1
        except Rejected as error:
            codes.add(error.code)
    assert {"unknown_kind", "invalid_data"} <= codes
    assert good > 0.99 * len(sent)
    times = [datetime.fromisoformat(str(one["at"])) for one in sent if "+" in str(one["at"])]
    assert END - SPAN <= min(times) < END - timedelta(days=21)
    assert END - timedelta(minutes=1) < max(times) <= END, "somebody is there"
    assert len({one["sessionId"] for one in sent if "+" in str(one["at"]) and one.get("sessionId")}) > 150
    people = {(one["userId"], one["sessionId"]) for one in sent if one.get("userId") and one.get("sessionId")}
    assert len({user for user, _ in people}) < len(people) - 20, "some come back"
    ordered = sum('"order_attempt"' in line.decode() for lane in stretch.lanes for one in lane for line in one.lines)
    assert 40 < ordered < 120
    assert any(request.again for lane in stretch.lanes for request in lane)


def test_customers_do_what_the_door_takes() -> None:
    codes = [f"CLIP{org[-3:]}" for org in customers.referrers(200, "demo-a-")]
    lanes = customers.lanes(200, 7, END, "demo-a-", learning=True, codes=codes)
    assert lanes == customers.lanes(200, 7, END, "demo-a-", learning=True, codes=codes)
    sent = [json.loads(line) for lane in lanes for request in lane for line in request.lines]
    assert len({one["id"] for one in sent}) == len(sent) > 200
    sender = Sender("test", "service", frozenset({"ingest"}))
    for action in sent:
        door.accept(msgspec.json.decode(json.dumps(action), type=Draft), KINDS, sender, END, catalog.default())
        assert END - SPAN <= datetime.fromisoformat(action["at"]) <= END
    assert {one["kind"].partition(".")[0] for one in sent} == {
        *("onboarding", "usage", "plan", "course", "lesson", "referral"),
    }
    claims = [one for one in sent if one["kind"] == "referral.signed_up"]
    assert claims
    assert {one["data"]["code"] for one in claims} <= set(codes)
    assert {one["orgId"] for one in claims}.isdisjoint(customers.referrers(200, "demo-a-"))
    alone = customers.lanes(200, 7, END, "demo-a-", learning=False)
    assert b"lesson." not in b"".join(line for lane in alone for request in lane for line in request.lines)


async def test_one_screen(pipe: Service, operator: Operator) -> None:
    ran = await operator.run("--sessions", "100", module="bench.demo")
    assert ran.code == 0, ran
    applied = await pipe.sql.fetchval(
        "SELECT (SELECT count(*) FROM interaction_events) + (SELECT count(*) FROM configuration_snapshots)"
        " + (SELECT count(*) FROM performance_metrics) + (SELECT count(*) FROM tracked_events)"
        " + (SELECT count(*) FROM onboarding_events) + (SELECT count(*) FROM usage_records)"
        " + (SELECT count(*) FROM course_events WHERE kind <> 'course.changed')"
        " + (SELECT count(*) FROM referral_events WHERE id LIKE 'demo-%')"
    )
    assert f"accepted = applied: yes  {applied:,} different actions accepted, {applied:,} applied" in ran.out
    assert await pipe.sql.fetchval("SELECT count(*) FROM referrals WHERE status <> 'PENDING'")
    assert await pipe.sql.fetchval("SELECT sum(watch_time_seconds) FROM user_progress")
    assert await pipe.sql.fetchval("SELECT count(*) FROM user_courses WHERE learner_name LIKE '% %'")
    assert await pipe.sql.fetchval("SELECT count(*) FROM usage_accounts WHERE plan IS NOT NULL")
    for words in ("sent twice", "rejected", "acknowledged", "freshness", "look next", "/docs", "-m jobs status"):
        assert words in ran.out
    assert "\x1b" not in ran.out
    session = ran.out.partition("/v1/sessions/")[2].split()[0]
    assert (await pipe.get(f"/v1/sessions/{session}")).status == 200


async def test_a_log_played_twice_changes_nothing(pipe: Service, operator: Operator, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text(TEXT)
    for new in (10, 0):  # two pages and sizes, one page alone, three calls of two addresses with a limit each
        ran = await operator.run("--data", str(path), module="bench.demo")
        assert ran.code == 0
        assert "accepted = applied: yes  10 different actions accepted, 10 applied" in ran.out
        assert "2 malformed lines left out: 3, 5" in ran.out
        assert ("10 were there before this play" in ran.out) == (new == 0)
    assert await pipe.sql.fetchval("SELECT count(*) FROM user_sessions") == 2


async def test_what_the_demo_cannot_do_is_one_line(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "courses.csv").touch()
    ran = await operator.run("--data", str(tmp_path), module="bench.demo")
    assert (ran.code, ran.err) == (0, "")
    assert "cannot be read as course data" in ran.out
    ran = await operator.run("--url", "http://127.0.0.1:1", module="bench.demo")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
