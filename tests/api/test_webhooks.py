"""Webhooks over HTTP: registered, tested on the spot, changed, their secrets; and everything that is refused."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from db import metrics
from db.settings import Settings
from tests.api.service import Answer, Service, running
from tests.worker import receiver
from tests.worker.receiver import effect

PATH = "/v1/admin/webhooks"
LOCAL = {"webhook_allow": ("127.0.0.0/8",)}


class Admin:
    """An operator with a key, on an API that may send to this machine."""

    def __init__(self, service: Service, key: str) -> None:
        self.service, self.key = service, key

    async def __call__(self, method: str, path: str = "", body: Any = None) -> Answer:
        """One request below /v1/admin/webhooks."""
        return await self.service.ask(method, path if path.startswith("/v1") else PATH + path, body, by=self.key)

    async def made(self, url: str, **more: Any) -> dict[str, Any]:
        """A new webhook."""
        answer = await self("POST", "", {"url": url, **more})
        assert answer.status == 201, answer.body
        found: dict[str, Any] = answer.body
        return found


@pytest.fixture
async def admin(settings: Settings) -> AsyncIterator[Admin]:
    """The operator."""
    async with running(settings.model_copy(update=LOCAL)) as service:
        yield Admin(service, await service.make_key("admin"))


async def test_the_life_of_a_webhook(admin: Admin) -> None:
    async with receiver.receiver() as there:
        made = await admin.made(there.url, types=["certificate.issued", "usage.*"], description="the shop")
        secret = made.pop("secret")
        assert secret.startswith("whsec_")
        assert made["enabled"]
        assert (made["types"], made["description"]) == (["certificate.issued", "usage.*"], "the shop")
        assert (await admin("GET")).body == {"webhooks": [made]}
        assert (await admin("GET", f"/{made['id']}")).body == made
        changed = await admin("PATCH", f"/{made['id']}", {"types": []})
        assert (changed.status, changed.body) == (200, made | {"types": []})
        gone = await admin("DELETE", f"/{made['id']}")
        assert (gone.status, gone.body) == (200, {"id": made["id"], "deleted": True})
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/rotate"), ("PATCH", "")):
            answer = await admin(method, f"/{made['id']}{path}", {} if method == "PATCH" else None)
            assert (answer.status, answer.error["code"]) == (404, "not_found")
        assert (await admin("GET")).body == {"webhooks": []}


async def test_the_secret_is_shown_at_creation_and_rotation_only(admin: Admin) -> None:
    async with receiver.receiver() as there:
        made = await admin.made(there.url)
        rotated = await admin("POST", f"/{made['id']}/rotate")
        assert rotated.status == 200
        assert rotated.body["secret"] != made["secret"]
        held = await admin("GET", f"/{made['id']}")
        assert held.body["previousSecretUntil"] == rotated.body["previousSecretUntil"]
        for path in ("", f"/{made['id']}", f"/{made['id']}/deliveries", "/v1/admin/effects"):
            answer = await admin("GET", path)
            assert answer.status == 200
            assert "whsec_" not in str(answer.body)
            assert answer.headers["Cache-Control"] == "no-store"
        assert (await admin("POST", f"/{made['id']}/test")).body["delivered"]
    for secret in (made["secret"], rotated.body["secret"]):
        Webhook(secret).verify(there.got[0].body, there.got[0].headers)


async def test_a_test_tells_how_the_receiver_took_it(admin: Admin) -> None:
    async def answer(_: web.Request, number: int) -> web.StreamResponse:
        if number == 3:
            await asyncio.sleep(60)
        return web.Response(status={1: 200, 2: 500}[number], text=f"answer {number}")

    async with receiver.receiver(answer) as there:
        made = await admin.made(there.url, types=["other"])
        good = (await admin("POST", f"/{made['id']}/test")).body
        bad = (await admin("POST", f"/{made['id']}/test")).body
        state = admin.service.state
        state.settings = state.settings.model_copy(update={"webhook_timeout": 1.0})
        late = (await admin("POST", f"/{made['id']}/test")).body
        assert (good["delivered"], good["status"], good["response"]) == (True, 200, "answer 1")
        assert (bad["delivered"], bad["status"], bad["response"]) == (False, 500, "answer 2")
        assert (late["delivered"], late["status"], late["error"]) == (False, None, "no answer within 1 s")
        got = there.got[0]
        assert got.id == good["effectId"]
        assert got.json["type"] == "milepost.test"
        Webhook(made["secret"]).verify(got.body, got.headers)
        listed = (await admin("GET", f"/{made['id']}/deliveries")).body["deliveries"]
        assert [one["status"] for one in listed] == ["discarded", "discarded", "delivered"]
        assert [one["attempts"][0]["status"] for one in listed] == [None, 500, 200]
        assert listed[2]["effectId"] == good["effectId"]
        assert listed[2]["destination"] == {"id": made["id"], "sort": "webhook", "url": there.url}


async def test_a_webhook_that_was_disabled_is_enabled_again(admin: Admin) -> None:
    async with receiver.receiver() as there:
        made = await admin.made(there.url)
        await receiver.commit(admin.service.sql, [effect(1)])
        off = await admin("PATCH", f"/{made['id']}", {"enabled": False})
        assert (off.body["enabled"], off.body["disabledReason"]) == (False, "disabled by an operator")
        listed = (await admin("GET", f"/{made['id']}/deliveries")).body["deliveries"]
        assert [(one["status"], one["reason"]) for one in listed] == [
            ("discarded", "the webhook was disabled by an operator")
        ]
        assert await receiver.commit(admin.service.sql, [effect(2)]) == []
        await admin.service.sql.execute("UPDATE destinations SET failures = 9, paused_until = now() + interval '1 h'")
        on = await admin("PATCH", f"/{made['id']}", {"enabled": True})
        assert (on.body["enabled"], on.body["failures"], on.body["pausedUntil"]) == (True, 0, None)
        assert len(await receiver.commit(admin.service.sql, [effect(3)])) == 1


async def test_deliveries_by_pages_and_status(admin: Admin) -> None:
    made = await admin.made("http://127.0.0.1:9/hook")
    await receiver.commit(admin.service.sql, [effect(n) for n in range(5)])
    path, seen, cursor = f"/{made['id']}/deliveries", [], ""
    for _ in range(3):
        answer = await admin("GET", f"{path}?limit=2{cursor}")
        seen += [one["id"] for one in answer.body["deliveries"]]
        cursor = f"&cursor={answer.body['cursor']}"
    assert cursor == "&cursor=None"
    assert len(set(seen)) == 5
    rows = await receiver.rows(admin.service.sql)
    assert seen == [str(row["id"]) for row in reversed(rows)]
    assert (await admin("GET", f"{path}?status=dead")).body["deliveries"] == []
    for query in ("limit=0", "limit=201", "limit=x", "status=nope", "cursor=x", "cursor=", "cursor=4pyT", "limit=-1"):
        answer = await admin("GET", f"{path}?{query}")
        assert (answer.status, answer.error["code"]) == (400, "invalid_parameter"), query


# What is refused.


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"url": 7},
        {"url": "https://1.1.1.1/", "more": 1},
        {"url": "https://1.1.1.1/", "types": "a"},
        {"url": "https://1.1.1.1/", "types": [None]},
        {"url": None},
    ],
)
async def test_bodies_of_another_form(admin: Admin, body: Any) -> None:
    answer = await admin("POST", "", body)
    assert (answer.status, answer.error["code"]) == (422, "invalid_body")
    assert (await admin("GET")).body == {"webhooks": []}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", ""),
        ("url", "no url"),
        ("url", "/hook"),
        ("url", "ftp://example.com/"),
        ("url", "file:///etc/passwd"),
        ("url", "javascript:alert(1)"),
        ("url", "https://"),
        ("url", "https:///hook"),
        ("url", "https://user:secret@1.1.1.1/"),
        ("url", "https://user@1.1.1.1/"),
        ("url", "https://1.1.1.1/#part"),
        ("url", "https://1.1.1.1:0/"),
        ("url", "https://1.1.1.1:99999/"),
        ("url", "https://1.1.1.1:x/"),
        ("url", "https://[::1/"),
        ("url", "https://1.1.1.1/\u0000"),
        ("url", "https://1.1.1.1/\r\nHost: x"),
        ("url", "https://1.1.1.1\\@evil.example/"),
        ("url", "https://1.1.1.1/" + "a" * 2048),
        ("url", "https://nowhere.invalid/"),
        ("url", "https://" + "a" * 64 + ".example/"),
        ("url", "https://ex ample.com/"),
        ("types", ["a b"]),
        ("types", ["*a"]),
        ("types", [""]),
        ("types", ["a\u0000"]),
        ("types", ["a" * 200]),
        ("types", ["a"] * 51),
        ("description", "x" * 501),
        ("description", "a\u0000b"),
        ("description", "two\nlines"),
    ],
)
async def test_what_cannot_be_registered(admin: Admin, field: str, value: Any) -> None:
    body = {"url": "https://1.1.1.1/hook"} | {field: value}
    answer = await admin("POST", "", body)
    assert (answer.status, answer.error["code"]) == (422, "invalid_webhook"), answer.body
    assert answer.error["details"]["path"].startswith(field)
    assert (await admin("GET")).body == {"webhooks": []}


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "169.254.169.254", "[::1]", "[fd00::1]", "[::ffff:10.0.0.1]", "192.168.1.1:8080", "0.0.0.0"],  # noqa: S104
)
async def test_addresses_inside_the_house_are_refused(admin: Admin, host: str) -> None:
    answer = await admin("POST", "", {"url": f"http://{host}/"})
    assert (answer.status, answer.error["code"]) == (422, "forbidden_address")
    made = await admin.made("http://127.0.0.1:9/")
    answer = await admin("PATCH", f"/{made['id']}", {"url": f"http://{host}/"})
    assert (answer.status, answer.error["code"]) == (422, "forbidden_address")
    assert (await admin("GET", f"/{made['id']}")).body["url"] == "http://127.0.0.1:9/"


async def test_without_the_setting_this_machine_is_refused_and_production_demands_https(settings: Settings) -> None:
    production = settings.model_copy(update={"env": "production"})
    async with running(production) as service:
        admin = Admin(service, await service.make_key("admin"))
        for host in ("127.0.0.1", "localhost", "2130706433", "127.1", "[::1]"):
            answer = await admin("POST", "", {"url": f"https://{host}/"})
            assert (answer.status, answer.error["code"]) == (422, "forbidden_address"), host
        answer = await admin("POST", "", {"url": "http://1.1.1.1/"})
        assert (answer.status, answer.error["code"]) == (422, "invalid_webhook")
        assert "https" in answer.error["message"]
        assert (await admin("POST", "", {"url": "https://1.1.1.1/"})).status == 201


async def test_there_is_a_bound(admin: Admin) -> None:
    await admin.service.sql.execute(
        "INSERT INTO destinations (sort, url) SELECT 'webhook', 'https://a.example' FROM generate_series(1, 100)"
    )
    answer = await admin("POST", "", {"url": "https://1.1.1.1/"})
    assert (answer.status, answer.error["code"]) == (422, "too_many_webhooks")


@pytest.mark.parametrize("one", ["x", "00000000-0000-0000-0000-000000000000", "%00", "1" * 500])
async def test_ids_that_are_none(admin: Admin, one: str) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/rotate"), ("GET", "/deliveries")):
        answer = await admin(method, f"/{one}{path}")
        assert (answer.status, answer.error["code"]) == (404, "not_found")


async def test_only_an_admin_may(admin: Admin) -> None:
    made = await admin.made("http://127.0.0.1:9/")
    others = {
        "service": admin.service.key,
        "user": admin.service.token("u-1"),
        "user with admin in the wrong place": admin.service.token("u-1", role="admin"),
    }
    routes = [("POST", ""), ("GET", ""), ("GET", f"/{made['id']}"), ("PATCH", f"/{made['id']}")]
    routes += [("DELETE", f"/{made['id']}"), ("POST", f"/{made['id']}/test"), ("POST", f"/{made['id']}/rotate")]
    routes += [("GET", f"/{made['id']}/deliveries")]
    for method, path in routes:
        for who, by in others.items():
            answer = await admin.service.ask(method, PATH + path, by=by)
            assert (answer.status, answer.error["code"]) == (403, "missing_scope"), (who, method, path)
        answer = await admin.service.ask(method, PATH + path, by=None)
        assert answer.status == 401


async def test_the_rows_of_the_settings_are_no_webhooks(admin: Admin) -> None:
    one = uuid.uuid4()
    await admin.service.sql.execute("INSERT INTO destinations (id, sort, url) VALUES ($1, 'nats', 'nats://a')", one)
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/rotate")):
        assert (await admin(method, f"/{one}{path}")).status == 404


async def test_the_figures_of_the_outbox(admin: Admin) -> None:
    await admin.service.redis.set(
        "mp:deliveries", b'[["webhook","pending",3,61.5],["webhook","dead",2,9],["nats","pending",1,5]]'
    )
    text = (await admin.service.get("/metrics", by=None)).body.decode()
    assert 'milepost_deliveries{sort="webhook",status="pending"} 3.0' in text
    assert 'milepost_deliveries{sort="webhook",status="dead"} 2.0' in text
    assert 'milepost_deliveries{sort="analytics",status="dead"} 0.0' in text
    assert 'milepost_oldest_delivery_seconds{sort="webhook"} 61.5' in text
    await admin.service.redis.delete("mp:deliveries")
    text = (await admin.service.get("/metrics", by=None)).body.decode()
    assert 'milepost_deliveries{sort="webhook",status="pending"} 0.0' in text
    metrics.unseen()
