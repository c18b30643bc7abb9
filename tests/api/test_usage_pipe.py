"""The whole pipe of usage: a crowd at a limit, notices at a webhook, an upgrade; and a worker that is away."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from db import ending
from db.settings import Settings
from jobs.usage.rows import QUERIES
from tests.api.service import Service, _drain, running
from tests.api.test_usage import CONSUME, CURRENT, RESERVE, UPLOAD, Customer
from tests.worker import receiver as receivers

pytestmark = pytest.mark.usefixtures("quiet")
NOTICE = "usage.threshold_reached"


async def told(service: Service) -> list[dict[str, Any]]:
    """The data of every notice, in order."""
    rows = await service.sql.fetch("SELECT data FROM effects WHERE type = $1 ORDER BY at, id", NOTICE)
    return sorted((json.loads(row["data"]) for row in rows), key=lambda one: one["used"])


async def test_two_hundred_at_once_share_fifty_and_everybody_is_told_once(settings: Settings) -> None:
    """Then they upgrade, and go on."""
    async with running(settings, draining=True) as service:
        await receivers.register(service.sql, "https://hooks.example.com/usage", [NOTICE])
        ada, admin = Customer(service), await service.make_key("admin")
        ada.token = service.token(ada.id)
        place = f"/v1/admin/subjects/{ada.id}"
        limit = await service.ask("PUT", f"{place}/limits/DIAGRAM_UPLOAD", {"limit": 50}, by=admin)
        assert limit.status == 200
        answers = await asyncio.gather(*(ada.send(f"{CONSUME}?wait=10", UPLOAD) for _ in range(200)))
        assert Counter(answer.status for answer in answers) == {200: 50, 429: 150}
        assert sorted(answer.body["used"] for answer in answers if answer.status == 200) == list(range(1, 51))
        subject = f"user:{ada.id}"
        counter = await service.sql.fetchrow("SELECT used, reserved FROM usage_counters WHERE subject = $1", subject)
        booked = await service.sql.fetchrow(
            "SELECT sum(booked), count(*) FILTER (WHERE booked = 1) FROM usage_records WHERE subject = $1", subject
        )
        assert (tuple(counter), tuple(booked)) == ((50, 0), (50, 50))
        assert await service.sql.fetch(QUERIES["compare_usage"]) == []
        notices = await told(service)
        assert [(one["threshold"], one["used"], one["thresholds"]) for one in notices] == [
            *((80, 40, [80]), (90, 45, [90]), (100, 50, [100])),
        ]
        assert await receivers.statuses(service.sql) == {"pending": 3}, "one for each, to the webhook"
        assert (await service.ask("DELETE", f"{place}/limits/DIAGRAM_UPLOAD", by=admin)).status == 200
        assert (await ada.consume()).status == 429
        assert (await service.ask("POST", f"{place}/plan", {"plan": "PROFESSIONAL"}, by=admin)).status == 200
        allowed = await ada.consume()
        assert (allowed.status, allowed.body["used"], allowed.body["limit"]) == (200, 51, 100)


async def test_a_jump_over_all_thresholds_is_one_notice(settings: Settings) -> None:
    async with running(settings, draining=True) as service:
        ada = Customer(service)
        ada.token = service.token(ada.id)
        assert (await ada.consume(quantity=5)).status == 200
        assert [one["thresholds"] for one in await told(service)] == [[80, 90, 100]]


async def test_what_was_not_decided_in_time_is_decided_once(settings: Settings) -> None:
    """The worker is away: 503, and the same again gets the decision as soon as it is back; nothing counts twice."""
    async with running(settings) as service:
        ada = Customer(service)
        ada.token = service.token(ada.id)
        lost = await ada.send(f"{CONSUME}?wait=0.1", {**UPLOAD, "quantity": 4})
        assert (lost.status, lost.error["code"], lost.headers["Retry-After"]) == (503, "undecided", "2")
        own = lost.error["details"]["id"]
        again = await ada.send(f"{CONSUME}?wait=0.1", {**UPLOAD, "quantity": 4, "id": own})
        assert (again.status, again.error["details"]["id"]) == (503, own)
        other = await ada.send(f"{CONSUME}?wait=0.1", {**UPLOAD, "quantity": 2, "id": "other"})
        held = await ada.send(f"{RESERVE}?wait=0.1", {"action": "AI_ANALYSIS", "quantity": 3, "ttl": 1})
        assert (other.status, held.status) == (503, 503)
        draining = await _drain(settings)
        try:
            found = await ada.send(f"{CONSUME}?wait=10", {**UPLOAD, "quantity": 4, "id": own})
            assert (found.status, found.body["used"], found.body["id"]) == (200, 4, own)
            denied = await ada.send(f"{CONSUME}?wait=10", {**UPLOAD, "quantity": 2, "id": "other"})
            assert (denied.status, denied.error["details"]["used"]) == (429, 4)
            assert (await ada.meter())["used"] == 4
            async with asyncio.timeout(60):
                while (await ada.consume("AI_ANALYSIS", quantity=3)).status != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        finally:
            await ending.ended(draining)


async def test_a_decision_has_to_be_waited_for(settings: Settings) -> None:
    async with running(settings) as service:
        ada = Customer(service)
        ada.token = service.token(ada.id)
        for path in (f"{CONSUME}?wait=0", f"{RESERVE}?wait=0", f"{CONSUME}?wait=x"):
            answer = await ada.send(path, UPLOAD)
            assert (answer.status, answer.error["code"]) == (400, "invalid_parameter")
        assert (await ada.get(CURRENT)).body["meters"]["DIAGRAM_UPLOAD"]["used"] == 0


async def test_a_limit_on_requests_is_another_429(settings: Settings) -> None:
    limited = settings.model_copy(update={"rate_limit_usage": "2/minute"})
    async with running(limited, draining=True) as service:
        ada = Customer(service)
        ada.token = service.token(ada.id)
        answers = [await ada.consume() for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert answers[-1].error["code"] == "rate_limited"
        assert "Retry-After" in answers[-1].headers


async def test_a_family_that_is_off(settings: Settings) -> None:
    """An operator switches usage off: 503, to be sent again; reads go on."""
    async with running(settings, draining=True) as service:
        ada, admin = Customer(service), await service.make_key("admin")
        ada.token = service.token(ada.id)
        switched = await service.ask("PUT", "/api/admin/flags/usage", {"enabled": False}, by=admin)
        assert switched.status == 200
        answer = await ada.consume()
        assert (answer.status, answer.error["code"]) == (503, "family_off")
        assert (await ada.get(CURRENT)).status == 200
