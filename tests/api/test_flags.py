"""Families switched off at run time: what may be shed is shed and told, the rest may come again, reads go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from api import governing
from db import flags, keys, metrics, stored_catalog
from db.settings import Settings
from jobs import catalog
from jobs.families import FAMILIES
from tests.api.service import Service, running

pytestmark = pytest.mark.usefixtures("quiet")
CLICK = {"kind": "interaction.recorded", "sessionId": "s", "data": {"eventType": "click", "category": "c"}}
PAGE = {"kind": "page.viewed", "sessionId": "s", "data": {}}
CLIP = {
    "kind": "onboarding.action_completed",
    "userId": "ada",
    "data": {"action": "created_clip", "projectId": "p"},
}
WRONG = {"kind": "nothing.happened", "sessionId": "s"}


@asynccontextmanager
async def two(settings: Settings) -> AsyncIterator[tuple[Service, Service, str]]:
    """Two API processes on one database and one Redis, a drain, and an admin's key."""
    async with running(settings, draining=True) as first, running(settings) as second:
        yield first, second, await first.make_key("admin")


async def before_long(holds: Callable[[], Awaitable[bool]]) -> None:
    """Poll for what every process comes to know."""
    began = time.monotonic()
    while not await holds():
        assert time.monotonic() - began < 15
        await asyncio.sleep(0.02)


async def put(service: Service, key: str, family: str, body: Any) -> Any:
    """PUT a flag."""
    return await service.ask("PUT", f"/api/admin/flags/{family}", body, by=key)


def shed(family: str) -> float:
    """What the metric says."""
    return float(metrics.SHED.labels(family)._value.get())


async def test_what_is_off(settings: Settings) -> None:
    async with two(settings) as (first, second, admin):
        assert (await second.send(CLICK)).body["accepted"] == 1
        before = shed("tracking")
        answer = await put(first, admin, "tracking", {"enabled": False})
        assert answer.status == 200
        listed = {one["family"]: one for one in answer.body["flags"]}
        assert (listed["tracking"]["enabled"], listed["progress"]["enabled"]) == (False, True)
        assert listed["tracking"]["changedBy"].startswith("key:")
        assert (await first.get("/api/admin/flags", by=admin)).body == answer.body
        assert (await first.send(CLICK)).body == {"accepted": 0, "rejected": [], "ids": [], "shed": 1}

        async def follows() -> bool:
            return bool((await second.send(CLICK)).body.get("shed"))

        await before_long(follows)
        assert shed("tracking") > before + 1
        durable = await second.send(PAGE)
        assert (durable.status, durable.error["code"]) == (503, "family_off")
        assert int(durable.headers["Retry-After"]) > 0
        mixed = await second.send({"actions": [WRONG, {**CLICK, "id": "a"}, PAGE, {**CLIP, "id": "b"}, CLICK]})
        assert (mixed.status, mixed.body["accepted"], mixed.body["ids"], mixed.body["shed"]) == (202, 1, ["b"], 2)
        codes = [(one["index"], one["code"]) for one in mixed.body["rejected"]]
        assert codes == [(0, "unknown_kind"), (2, "family_off")]
        bad = await second.send({"actions": [WRONG, CLICK]})
        assert (bad.status, bad.body["accepted"], bad.body["shed"], len(bad.body["rejected"])) == (202, 0, 1, 1)
        assert (await second.send(WRONG)).status == 422
        assert (await second.send(PAGE, Prefer="wait=1")).status == 503
        assert (await second.send(CLICK, Prefer="wait=1")).status == 202
        await put(second, admin, "tracking", {"enabled": True})
        assert (await second.send(PAGE)).body["accepted"] == 1
        await before_long(lambda: accepted(first, PAGE))


async def accepted(service: Service, action: Any) -> bool:
    """Whether this goes in."""
    return (await service.send(action)).status == 202


async def test_onboarding_off_while_tracking_goes_on(settings: Settings) -> None:
    async with two(settings) as (service, _, admin):
        user = service.token("ada")
        update = {"action": "created_clip", "projectId": "p"}
        path = "/v1/onboarding/progress/update"
        assert (await service.send(update, path, by=user)).status == 200
        await put(service, admin, "onboarding", {"enabled": False})
        for answer in (
            await service.send(update, path, by=user),
            await service.send({}, "/v1/onboarding/skip", by=user),
            await service.send({}, "/v1/onboarding/steps/WELCOME/complete", by=user),
            await service.send(CLIP),
        ):
            assert (answer.status, answer.error["code"]) == (503, "family_off")
            assert "Retry-After" in answer.headers
        read = await service.get("/v1/onboarding/progress", by=user)
        assert (read.status, read.body["hasCreatedClip"]) == (200, True)
        sent = await service.send({**PAGE, "id": "goes-on"}, Prefer="wait=10")
        assert (sent.status, sent.body["accepted"]) == (200, 1)
        await put(service, admin, "onboarding", {"enabled": True})
        assert (await service.send(update, path, by=user)).body["isFirstTime"] is False


async def test_a_group_is_all_of_its_families() -> None:
    kinds = governing.kinds_off({"progress": False})
    assert {"onboarding.step_skipped", "lesson.watched"} <= kinds
    assert not kinds & {"interaction.recorded", "referral.signed_up"}
    assert governing.kinds_off({"progress": False, "onboarding": True}) == kinds, "off by either name is off"
    assert governing.kinds_off({"progress": True}) == governing.kinds_off({}) == frozenset()
    assert {family.group for family in FAMILIES} | {family.name for family in FAMILIES} == set(governing.names())


async def test_a_wiped_redis_and_a_new_process(settings: Settings) -> None:
    async with two(settings) as (first, second, admin):
        await put(first, admin, "tracking", {"enabled": False})
        await before_long(lambda: off(second))
        await first.redis.delete(keys.FLAGS, keys.CATALOG)
        await before_long(lambda: told(first))
        assert await off(first)
        assert await off(second)
        async with running(settings) as third:
            assert await off(third)


async def off(service: Service) -> bool:
    """Whether tracking is off."""
    return "interaction.recorded" in service.state.off


async def told(service: Service) -> bool:
    """Whether Redis has both again."""
    return bool(await service.redis.exists(keys.FLAGS, keys.CATALOG) == 2)


async def test_the_stored_catalog_in_every_process(settings: Settings) -> None:
    async with two(settings) as (first, second, _):
        assert first.state.catalog == catalog.default()
        text = stored_catalog.shipped().replace('"VIEW_CLIPS"', '"LOOK"')
        async with first.sql.acquire() as conn:
            await stored_catalog.store(conn, text)
            await stored_catalog.publish(conn, first.redis)

        async def follows() -> bool:
            steps = [one.state.catalog.onboarding.steps for one in (first, second)]
            return all("LOOK" in one for one in steps)

        await before_long(follows)
        step = {"kind": "onboarding.step_completed", "userId": "ada", "data": {"step": "LOOK"}}
        answer = await first.send(step, Prefer="wait=10")
        assert answer.body["results"][0]["outcome"]["status"]["steps"][2]["status"] == "completed"
        gone = await second.send({**step, "data": {"step": "VIEW_CLIPS"}})
        assert (gone.status, gone.error["code"], gone.error["details"]["path"]) == (422, "unknown_step", "$.data.step")


async def test_a_catalog_of_another_version_changes_nothing(settings: Settings) -> None:
    async with running(settings) as service:
        await service.redis.set(keys.CATALOG, b'["other", "[meteors]\\nx = 1\\n"]')
        await service.redis.set(keys.FLAGS, b'{"tracking": false, "meteors": false}')
        await before_long(lambda: off(service))
        assert service.state.catalog == catalog.default()


@pytest.mark.parametrize(
    ("family", "body", "status", "code"),
    [
        ("nothing", {"enabled": False}, 404, "unknown_family"),
        ("%00", {"enabled": False}, 404, "unknown_family"),
        ("tracking", {"enabled": "no"}, 422, "invalid_body"),
        ("tracking", {"enabled": None}, 422, "invalid_body"),
        ("tracking", {}, 422, "invalid_body"),
        ("tracking", {"enabled": True, "more": 1}, 422, "invalid_body"),
        ("tracking", [], 422, "invalid_body"),
        ("tracking", b"off", 400, "malformed_json"),
        ("tracking", None, 400, "malformed_json"),
    ],
)
async def test_switches_that_are_refused(service: Service, family: str, body: Any, status: int, code: str) -> None:
    answer = await put(service, await service.make_key("admin"), family, body)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert await flags.read(service.sql) == {}


async def test_who_may_not(service: Service) -> None:
    user = service.token("ada", aud="milepost")
    for key in (user, "", await service.make_key("ingest")):
        for method, path in (("GET", "/api/admin/flags"), ("PUT", "/api/admin/flags/tracking")):
            answer = await service.ask(method, path, {"enabled": False}, by=key)
            assert (answer.status, answer.error["code"]) == (403, "missing_scope")
    assert (await service.ask("PUT", "/api/admin/flags/tracking", {"enabled": False}, by=None)).status == 401
    assert await flags.read(service.sql) == {}
