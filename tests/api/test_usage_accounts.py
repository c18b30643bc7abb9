"""What operators say of a subject's usage, and that it holds."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.api.service import Answer, Service
from tests.api.test_usage import CONSUME, CURRENT, Customer

pytestmark = pytest.mark.usefixtures("quiet", "buries_nothing")


class Operator:
    """Somebody with the scope `admin`."""

    def __init__(self, service: Service, key: str) -> None:
        self.service, self.key = service, key

    async def ask(self, method: str, subject: str, rest: str = "", body: Any = None) -> Answer:
        """One request about a subject."""
        return await self.service.ask(method, f"/v1/admin/subjects/{subject}{rest}", body, by=self.key)


@pytest.fixture
async def boss(service: Service) -> Operator:
    """An operator."""
    return Operator(service, await service.make_key("admin"))


@pytest.fixture
def ada(service: Service) -> Customer:
    """A new customer."""
    return Customer(service)


async def test_an_upgrade_holds_at_once_a_downgrade_later(boss: Operator, ada: Customer) -> None:
    assert [(await ada.consume()).status for _ in range(6)] == [200] * 5 + [429]
    up = await boss.ask("POST", f"user:{ada.id}", "/plan", {"plan": "PROFESSIONAL"})
    assert (up.status, up.body["plan"], up.body["previousPlan"], up.body["subject"]) == (
        *(200, "PROFESSIONAL", "FREE", f"user:{ada.id}"),
    )
    allowed = await ada.consume()
    assert (allowed.status, allowed.body["used"], allowed.body["limit"]) == (200, 6, 100)
    assert (await ada.consume("EXPORT_PDF")).status == 200
    down = await boss.ask("POST", ada.id, "/plan", {"plan": "FREE"})
    period = (await ada.get(CURRENT)).body["period"]
    assert (down.body["plan"], down.body["nextPlan"], down.body["nextPlanAt"]) == (
        *("PROFESSIONAL", "FREE", period["end"]),
    )
    shown = (await ada.get(CURRENT)).body
    assert (shown["plan"], shown["nextPlan"], shown["meters"]["DIAGRAM_UPLOAD"]["used"]) == ("PROFESSIONAL", "FREE", 6)


async def test_a_limit_of_its_own_is_set_and_removed(boss: Operator, ada: Customer) -> None:
    place = "/limits/DIAGRAM_UPLOAD"
    answer = await boss.ask("PUT", ada.id, place, {"limit": 1})
    assert (answer.status, answer.body["limit"], answer.body["removed"]) == (200, 1, False)
    assert [(await ada.consume()).status for _ in range(2)] == [200, 429]
    assert (await boss.ask("PUT", ada.id, place, {"limit": 1, "hard": False, "overageCap": 1})).status == 200
    assert [(await ada.consume()).status for _ in range(2)] == [200, 429]
    assert (await boss.ask("PUT", ada.id, place, {"limit": None})).body["limit"] is None
    assert (await ada.consume(quantity=1000)).body["unlimited"] is True
    assert (await boss.ask("DELETE", ada.id, place)).body["removed"] is True
    assert (await ada.consume()).status == 429
    shown = await boss.ask("GET", ada.id)
    assert (shown.body["overrides"], shown.body["meters"]["DIAGRAM_UPLOAD"]["limit"]) == ({}, 5)


async def test_zone_and_billing(boss: Operator, ada: Customer) -> None:
    body = {"zone": "Europe/Berlin", "billing": "anniversary", "anchorAt": "2026-01-30T12:00:00+01:00"}
    answer = await boss.ask("PUT", ada.id, "/account", body)
    assert (answer.status, answer.body["zone"], answer.body["day"]) == (200, "Europe/Berlin", 30)
    shown = (await boss.ask("GET", ada.id)).body
    assert shown["account"] == {"zone": "Europe/Berlin", "billing": "anniversary", "day": 30, "since": None}
    assert shown["period"]["end"] == answer.body["periodEnd"]


async def test_an_adjustment_has_a_reason(boss: Operator, ada: Customer) -> None:
    await ada.consume(quantity=5)
    body = {"action": "DIAGRAM_UPLOAD", "quantity": -2, "reason": "two were broken", "id": f"r-{ada.id}"}
    for _ in range(2):
        answer = await boss.ask("POST", ada.id, "/adjustments", body)
        assert (answer.status, answer.body["quantity"], answer.body["used"]) == (200, -2, 3)
    other = await boss.ask("POST", ada.id, "/plan", {"plan": "FREE", "id": f"r-{ada.id}"})
    assert (other.status, other.error["code"]) == (422, "id_reused")
    kept = await ada.service.sql.fetchval(
        "SELECT metadata ->> 'reason' FROM usage_records WHERE subject = $1 AND kind = 'usage.adjusted'",
        f"user:{ada.id}",
    )
    assert kept == "two were broken"


async def test_an_organisation_and_a_user_of_the_same_name(boss: Operator, service: Service) -> None:
    name = f"both-{uuid.uuid4().hex[:8]}"
    assert (await boss.ask("POST", f"org:{name}", "/plan", {"plan": "ENTERPRISE"})).status == 200
    assert (await service.get(f"{CURRENT}?orgId={name}")).body["plan"] == "ENTERPRISE"
    assert (await service.get(f"{CURRENT}?userId={name}")).body["plan"] == "FREE"
    strange = f"org:{name}"
    assert (await boss.ask("POST", f"user:{strange}", "/plan", {"plan": "ENTERPRISE"})).status == 200
    assert (await service.get(f"{CURRENT}?userId={strange}")).body["plan"] == "ENTERPRISE"


@pytest.mark.parametrize(
    ("method", "rest", "body", "code"),
    [
        ("POST", "/plan", {"plan": "NOBODYS"}, "unknown_plan"),
        ("POST", "/plan", {"plan": ""}, "invalid_body"),
        ("POST", "/plan", {}, "invalid_body"),
        ("POST", "/plan", {"plan": "FREE", "effectiveAt": "tomorrow"}, "invalid_body"),
        ("POST", "/plan", {"plan": "FREE", "effectiveAt": "9999-12-31T23:59:59Z"}, "invalid_data"),
        ("PUT", "/limits/NOBODYS", {"limit": 1}, "unknown_meter"),
        ("PUT", "/limits/DIAGRAM_UPLOAD", {}, "invalid_body"),
        ("PUT", "/limits/DIAGRAM_UPLOAD", {"limit": -1}, "invalid_body"),
        ("PUT", "/limits/DIAGRAM_UPLOAD", {"limit": 10**18}, "invalid_body"),
        ("PUT", "/limits/DIAGRAM_UPLOAD", {"limit": 1, "overageCap": 1}, "invalid_data"),
        ("DELETE", "/limits/NOBODYS", None, "unknown_meter"),
        ("PUT", "/account", {"zone": "Mars/Olympus"}, "unknown_zone"),
        ("PUT", "/account", {"zone": "../../etc/passwd"}, "unknown_zone"),
        ("PUT", "/account", {}, "invalid_data"),
        ("PUT", "/account", {"billing": "weekly"}, "invalid_body"),
        ("POST", "/adjustments", {"action": "DIAGRAM_UPLOAD", "quantity": 0, "reason": "r"}, "invalid_data"),
        ("POST", "/adjustments", {"action": "DIAGRAM_UPLOAD", "quantity": 10**18, "reason": "r"}, "invalid_body"),
        ("POST", "/adjustments", {"action": "DIAGRAM_UPLOAD", "quantity": 1.5, "reason": "r"}, "invalid_body"),
        ("POST", "/adjustments", {"action": "DIAGRAM_UPLOAD", "quantity": 1}, "invalid_body"),
        ("POST", "/adjustments", {"action": "DIAGRAM_UPLOAD", "quantity": 1, "reason": ""}, "invalid_body"),
        ("POST", "/adjustments", {"action": "NOBODYS", "quantity": 1, "reason": "r"}, "unknown_meter"),
    ],
)
async def test_bad_input(boss: Operator, ada: Customer, method: str, rest: str, body: Any, code: str) -> None:
    answer = await boss.ask(method, ada.id, rest, body)
    assert (answer.status, answer.error["code"]) == (422, code), answer
    assert answer.error["details"]["path"].startswith("$")


@pytest.mark.parametrize("subject", ["%00", "org:", "user:%0A", "x" * 129])
async def test_hostile_subjects(boss: Operator, subject: str) -> None:
    for method, rest, body in (("GET", "", None), ("POST", "/plan", {"plan": "FREE"})):
        answer = await boss.ask(method, subject, rest, body)
        assert answer.status in {400, 404, 422}, answer
        assert answer.error["code"] in {"invalid_id", "not_found", "malformed"}


async def test_only_operators_may(service: Service, ada: Customer) -> None:
    for by in (ada.token, service.key):
        for method, rest, body in (("GET", "", None), ("POST", "/plan", {"plan": "ENTERPRISE"})):
            answer = await service.ask(method, f"/v1/admin/subjects/{ada.id}{rest}", body, by=by)
            assert (answer.status, answer.error["code"]) == (403, "missing_scope")
    changed = {"kind": "plan.changed", "userId": ada.id, "data": {"plan": "ENTERPRISE"}}
    assert (await service.send(changed, by=ada.token)).error["code"] == "forbidden_kind"
    assert (await ada.send(CONSUME, {"action": "API_CALL"})).status == 403
