"""Analytics of a subject, plans in versions, and what operators see of everybody."""

from __future__ import annotations

import csv
import io
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.usage.analytics import wants_csv
from db import sql
from tests.api.service import Answer, Service
from tests.api.test_usage import TRACK, Customer
from tests.api.test_usage_accounts import Operator

pytestmark = pytest.mark.usefixtures("quiet", "buries_nothing")
ANALYTICS, PLANS, REPORTS = "/v1/usage/analytics", "/v1/admin/plans", "/v1/admin/usage"
DAY = timedelta(days=1)


@pytest.fixture
def ada(service: Service) -> Customer:
    """A new customer."""
    return Customer(service)


@pytest.fixture
async def boss(service: Service) -> Operator:
    """An operator."""
    return Operator(service, await service.make_key("admin"))


async def track(customer: Customer, at: str, quantity: int = 1, action: str = "DIAGRAM_UPLOAD") -> None:
    """Count something at a time."""
    body = {"action": action, "quantity": quantity, "at": at}
    assert (await customer.send(f"{TRACK}?wait=10", body)).status == 200


async def test_every_day_and_every_meter_has_its_row(ada: Customer) -> None:
    today = datetime.now(UTC).date()
    old = today - 3 * DAY
    await track(ada, f"{old}T12:00:00Z", 2)
    await track(ada, f"{old}T23:59:59.999Z")
    await track(ada, f"{today - 2 * DAY}T00:00:00Z", 4, "API_CALL")
    answer = await ada.get(f"{ANALYTICS}?from={old - DAY}&to={today - 2 * DAY}&tz=UTC")
    body = answer.body
    assert (answer.status, body["from"], body["to"]) == (200, f"{old - DAY}T00:00:00Z", f"{today - DAY}T00:00:00Z")
    assert [
        (one["day"], one["used"]["DIAGRAM_UPLOAD"], one["used"]["API_CALL"], one["records"]) for one in body["series"]
    ] == [
        (str(old - DAY), 0, 0, 0),
        (str(old), 3, 0, 2),
        (str(today - 2 * DAY), 0, 4, 1),
    ]
    assert (body["totals"]["DIAGRAM_UPLOAD"], body["totals"]["API_CALL"], body["totals"]["EXPORT_PDF"]) == (3, 4, 0)
    grouped = await ada.get(f"{ANALYTICS}?from={old - DAY}&groupBy=action&action=DIAGRAM_UPLOAD")
    assert grouped.body["series"] == [{"action": "DIAGRAM_UPLOAD", "used": 3, "records": 2}]
    part = await ada.get(
        f"{ANALYTICS}?from={old}T13:00:00Z&to={old}T23:59:59.999Z&groupBy=action&action=DIAGRAM_UPLOAD"
    )
    assert part.body["totals"] == {"DIAGRAM_UPLOAD": 0}, "half-open at both ends"


async def test_the_days_are_those_of_the_zone(ada: Customer, boss: Operator) -> None:
    day = datetime.now(UTC).date() - 2 * DAY
    await track(ada, f"{day}T23:30:00Z")
    for zone, own in (("Asia/Tokyo", day + DAY), ("UTC", day), ("America/New_York", day)):
        body = (await ada.get(f"{ANALYTICS}?from={day}&to={day + DAY}&tz={zone}")).body
        assert [one["day"] for one in body["series"] if one["used"]["DIAGRAM_UPLOAD"]] == [str(own)]
    await boss.ask("PUT", ada.id, "/account", {"zone": "Asia/Tokyo"})
    assert (await ada.get(ANALYTICS)).body["tz"] in {"UTC", "Asia/Tokyo"}


async def test_a_year_with_both_changes_of_the_clock_has_365_days(ada: Customer) -> None:
    body = (await ada.get(f"{ANALYTICS}?from=2025-01-01&to=2025-12-31&tz=Europe/Berlin")).body
    assert (len(body["series"]), body["series"][0]["day"], body["series"][-1]["day"]) == (
        365,
        "2025-01-01",
        "2025-12-31",
    )
    leap = (await ada.get(f"{ANALYTICS}?from=2024-01-01&to=2024-12-31&tz=Europe/Berlin")).body
    assert len(leap["series"]) == 366


async def test_as_csv(ada: Customer) -> None:
    today = datetime.now(UTC).date()
    await track(ada, f"{today - DAY}T12:00:00Z", 3)
    answer = await ada.get(f"{ANALYTICS}?from={today - DAY}&to={today}", Accept="text/csv")
    assert (answer.status, answer.headers["Content-Type"], answer.headers["Vary"]) == (
        *(200, "text/csv; charset=utf-8", "Accept"),
    )
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [(row["day"], row["DIAGRAM_UPLOAD"], row["API_CALL"]) for row in rows] == [
        (str(today - DAY), "3", "0"),
        (str(today), "0", "0"),
    ]
    answer = await ada.get(f"{ANALYTICS}?groupBy=action", Accept="text/csv")
    found = {row["action"]: row["used"] for row in csv.DictReader(io.StringIO(answer.body.decode()))}
    assert (found["DIAGRAM_UPLOAD"], found["EXPORT_PDF"]) == ("3", "0")


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("text/csv", True),
        ("TEXT/CSV; q=0.5", True),
        ("application/json, text/csv", True),
        ("application/json, text/csv;q=0.9", False),
        ("text/csv;q=0", False),
        ("*/*", False),
        ("", False),
        ("," * 5000 + "text/csv", False),
    ],
)
def test_who_wants_csv(accept: str, wanted: bool) -> None:
    assert wants_csv(accept) is wanted


@pytest.mark.parametrize(
    "query",
    [
        *("from=1926-01-01&to=2026-01-01", "from=2026-02-01&to=2026-01-01", "from=2026-01-01&to=2027-01-03"),
        *("from=2026-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", "from=now", "from=2026-02-30", "to=9999-12-31"),
        *("from=0001-01-01", "from=2026-01-01T00:00:00", "tz=Mars/Olympus", "tz=", "tz=../../etc/passwd", "tz=%00"),
        *("tz=localtime", "groupBy=week", "groupBy=", f"from={'9' * 5000}", "from=%D9%A2026-01-01"),
    ],
)
async def test_bad_ranges(ada: Customer, query: str) -> None:
    answer = await ada.get(f"{ANALYTICS}?{query}")
    assert (answer.status, answer.error["code"]) == (400, "invalid_parameter"), answer


async def test_hostile_meters_and_other_peoples_ids(ada: Customer) -> None:
    for action in ("NOBODYS", "%27%3BDROP%20TABLE", "x" * 3000, "%00", ""):
        answer = await ada.get(f"{ANALYTICS}?action={action}")
        assert (answer.status, answer.error["code"]) == (422, "unknown_meter")
    assert (await ada.get(f"{ANALYTICS}?userId=somebody")).error["code"] == "forbidden_subject"
    assert (await ada.get(f"{ANALYTICS}?userId=%00")).error["code"] == "invalid_id"


# Plans


async def put(boss: Operator, name: str, body: Any) -> Answer:
    """A version of a plan."""
    return await boss.service.ask("PUT", f"{PLANS}/{name}", body, by=boss.key)


async def test_a_new_plan_and_its_next_version(boss: Operator, ada: Customer) -> None:
    name, rank = f"P{uuid.uuid4().hex[:10].upper()}", int(uuid.uuid4().int % 900) + 50
    made = await put(boss, name, {"rank": rank, "limits": {"DIAGRAM_UPLOAD": 1, "API_CALL": None}, "storage": 7})
    assert (made.status, made.body["version"], made.body["limits"]["DIAGRAM_UPLOAD"]["limit"]) == (200, 1, 1)
    assert made.body["limits"]["STORAGE_BYTES"]["limit"] == 7
    same = await put(boss, name, {"rank": rank, "limits": {"DIAGRAM_UPLOAD": 1, "API_CALL": None}, "storage": 7})
    assert same.body["version"] == 1
    assert (await boss.ask("POST", ada.id, "/plan", {"plan": name})).body["plan"] == name
    assert [(await ada.consume()).status for _ in range(2)] == [200, 429]
    soft = {"rank": rank, "limits": {"DIAGRAM_UPLOAD": {"limit": 2, "hard": False, "overageCap": 1}}}
    assert (await put(boss, name, soft)).body["version"] == 2
    assert [(await ada.consume()).status for _ in range(3)] == [200, 200, 429]
    later = datetime.now(UTC) + 2 * DAY
    upcoming = await put(boss, name, {"rank": rank, "limits": {}, "effectiveFrom": later.isoformat()})
    assert upcoming.body["version"] == 3
    assert (await ada.consume()).status == 429
    listed = (await boss.service.get(PLANS, by=boss.key)).body
    (own,) = [one for one in listed["plans"] if one["plan"] == name]
    assert (own["version"], [one["version"] for one in own["upcoming"]]) == (2, [3])
    versions = (await boss.service.get(f"{PLANS}/{name}", by=boss.key)).body["versions"]
    assert [(one["version"], one["source"]) for one in versions] == [(1, "admin"), (2, "admin"), (3, "admin")]


async def test_the_plans_as_shipped(boss: Operator) -> None:
    listed = (await boss.service.get(PLANS, by=boss.key)).body
    assert listed["defaultPlan"] == "FREE"
    assert {"FREE", "PROFESSIONAL", "ENTERPRISE"} <= {one["plan"] for one in listed["plans"]}
    free = (await boss.service.get(f"{PLANS}/FREE", by=boss.key)).body["versions"][0]
    assert (free["version"], free["limits"]["AI_ANALYSIS"]["limit"], free["limits"]["EXPORT_PDF"]["limit"]) == (1, 3, 0)


@pytest.mark.parametrize(
    ("name", "body", "status", "code"),
    [
        ("lower", {"rank": 1}, 400, "invalid_parameter"),
        ("X" * 65, {"rank": 1}, 400, "invalid_parameter"),
        ("%00", {"rank": 1}, 400, "invalid_parameter"),
        ("NEW", {}, 422, "invalid_body"),
        ("NEW", {"rank": -1}, 422, "invalid_body"),
        ("NEW", {"rank": 0}, 422, "invalid_body"),
        ("NEW", {"rank": 1, "limits": {"NOBODYS": 1}}, 422, "unknown_meter"),
        ("NEW", {"rank": 1, "limits": {"DIAGRAM_UPLOAD": -1}}, 422, "invalid_body"),
        ("NEW", {"rank": 1, "limits": {"DIAGRAM_UPLOAD": 1.5}}, 422, "invalid_body"),
        ("NEW", {"rank": 1, "limits": {"DIAGRAM_UPLOAD": 10**18}}, 422, "invalid_body"),
        ("NEW", {"rank": 1, "limits": {"STORAGE_BYTES": 1}}, 422, "invalid_body"),
        ("NEW", {"rank": 1, "limits": {"API_CALL": {"limit": 1, "overageCap": 1}}}, 422, "invalid_body"),
        ("NEW", {"rank": 1, "features": ["No Such Form"]}, 422, "invalid_body"),
        ("NEW", {"rank": 1, "effectiveFrom": "2020-01-01T00:00:00Z"}, 422, "invalid_body"),
        ("NEW", {"rank": 1, "effectiveFrom": "3000-01-01T00:00:00Z"}, 422, "invalid_body"),
        ("NEW", [], 422, "invalid_body"),
    ],
)
async def test_bad_plans(boss: Operator, name: str, body: Any, status: int, code: str) -> None:
    answer = await put(boss, name, body)
    assert (answer.status, answer.error["code"]) == (status, code), answer
    missing = await boss.service.get(f"{PLANS}/NEW", by=boss.key)
    assert (missing.status, missing.error["code"]) == (404, "not_found")


# Everybody


async def test_usage_by_plan_top_and_near(boss: Operator, service: Service) -> None:
    crowd = [Customer(service) for _ in range(4)]
    for number, one in enumerate(crowd):
        await one.send(f"{TRACK}?wait=10", {"action": "AI_ANALYSIS", "quantity": 10_000 + number})
    await boss.ask("POST", crowd[3].id, "/plan", {"plan": "ENTERPRISE"})
    top = (await service.get(f"{REPORTS}/top?action=AI_ANALYSIS&limit=3", by=boss.key)).body
    assert [one["subject"] for one in top["subjects"]] == [f"user:{crowd[n].id}" for n in (3, 2, 1)]
    assert (top["more"], top["subjects"][0]["used"]) == (True, 10_003)
    rest = (await service.get(f"{REPORTS}/top?action=AI_ANALYSIS&limit=3&page=2", by=boss.key)).body
    assert rest["subjects"][0]["subject"] == f"user:{crowd[0].id}"
    near = (await service.get(f"{REPORTS}/near-limit?action=AI_ANALYSIS&percent=200", by=boss.key)).body
    named = [one["subject"] for one in near["subjects"]]
    assert [f"user:{crowd[n].id}" for n in (2, 1, 0)] == named[:3]
    assert f"user:{crowd[3].id}" not in named, "it was given more since"
    overview = (await service.get(f"{REPORTS}/overview", by=boss.key)).body
    (meter,) = [one for one in overview["meters"] if one["action"] == "AI_ANALYSIS"]
    assert (meter["subjects"] >= 4, meter["used"] >= 40_006, meter["reached"] >= 4) == (True, True, True)
    plans = {one["plan"]: one for one in overview["plans"]}
    assert plans["ENTERPRISE"]["subjects"] >= 1
    assert (
        sum(one["used"] for plan in plans.values() for one in plan["meters"] if one["action"] == "AI_ANALYSIS")
        == (meter["used"])
    )


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        ("top", "invalid_parameter"),
        ("top?action=NOBODYS", "unknown_meter"),
        ("top?action=API_CALL&limit=201", "invalid_parameter"),
        ("top?action=API_CALL&page=0", "invalid_parameter"),
        ("near-limit?percent=0", "invalid_parameter"),
        ("near-limit?percent=1e9", "invalid_parameter"),
        ("near-limit?action=%00", "unknown_meter"),
    ],
)
async def test_bad_reports(boss: Operator, rest: str, code: str) -> None:
    answer = await boss.service.get(f"{REPORTS}/{rest}", by=boss.key)
    assert (answer.status, answer.error["code"]) == (422 if code == "unknown_meter" else 400, code)


async def test_only_operators_may(service: Service, ada: Customer) -> None:
    for path in (
        PLANS,
        f"{PLANS}/FREE",
        f"{REPORTS}/overview",
        f"{REPORTS}/top?action=API_CALL",
        f"{REPORTS}/near-limit",
    ):
        for by in (ada.token, service.key):
            assert (await service.get(path, by=by)).error["code"] == "missing_scope"
    assert (await service.ask("PUT", f"{PLANS}/FREE", {"rank": 0}, by=ada.token)).status == 403


async def test_reports_read_the_periods_that_run_by_their_index(service: Service) -> None:
    """Of a table with a year of history only the running month is read."""
    queries = sql.read("usage_reports")
    async with service.sql.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await conn.execute(
            "INSERT INTO usage_counters SELECT 'user:plan-' || n, 'API_CALL', m, m + interval '1 month', n, 0, 1, "
            "'FREE', '', 1000, true, NULL, '[]', 0, "
            "CASE WHEN m < now() - interval '2 months' THEN now() END, now() "
            "FROM generate_series(1, 2000) n, "
            "generate_series(date_trunc('month', now()) - interval '11 months', now(), interval '1 month') m"
        )
        await conn.execute("ANALYZE usage_counters")
        plan = json.loads(
            await conn.fetchval(f"EXPLAIN (FORMAT JSON) {queries['usage_top']}", datetime.now(UTC), "API_CALL", 10, 0)
        )
        await transaction.rollback()
    assert "usage_counters_open" in json.dumps(plan)
