"""Referrals through the whole pipe: HTTP, the log, the worker, follow-ups, Postgres, and back."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest

from api.referrals import routes
from db import keys, stream
from db.settings import Settings
from tests.api.service import Answer, Service, running
from tests.jobs.commands import until
from tests.jobs.referring import code_of

pytestmark = pytest.mark.usefixtures("quiet", "buries_nothing")
CODE, CLAIM, LIST = "/v1/referrals/code", "/v1/referrals/claim", "/v1/referrals"
OVERVIEW = "/admin/plg/referrals/overview"


class Org:
    """An organisation with a user who has a token."""

    def __init__(self, service: Service) -> None:
        self.service, self.id = service, f"org-{uuid.uuid4().hex[:12]}"
        self.token = service.token(f"user-of-{self.id}", org_id=self.id, aud="milepost")

    async def get(self, path: str, **headers: str) -> Answer:
        """GET as this user."""
        return await self.service.get(path, by=self.token, **headers)

    async def code(self) -> str:
        """Its code."""
        answer = await self.get(CODE)
        assert answer.status == 200, answer
        return str(answer.body["code"])

    async def claim(self, code: Any, query: str = "", **more: Any) -> Answer:
        """Come by a code."""
        return await self.service.send({"code": code, **more}, CLAIM + query, by=self.token)

    async def qualify(self) -> None:
        """A user of it creates the first clip."""
        body = {"action": "created_clip", "projectId": "project-7"}
        assert (await self.service.send(body, "/v1/onboarding/progress/update", by=self.token)).status == 200

    async def rewarded(self) -> dict[str, Any]:
        """How it came here, when its referral is rewarded."""
        found: list[Any] = []

        async def is_rewarded() -> bool:
            found[:] = [(await self.get(LIST)).body["referral"]]
            return bool(found[0]["status"] == "REWARDED")

        await until(is_rewarded)
        return dict(found[0])


@pytest.fixture
def orgs(service: Service) -> list[Org]:
    """Three new ones."""
    return [Org(service) for _ in range(3)]


async def test_the_walk_of_the_seed(orgs: list[Org]) -> None:
    a, b, _ = orgs
    first = await a.get(CODE)
    none = {"pending": 0, "completed": 0, "rewarded": 0, "total": 0}
    code = code_of(a.id)
    link = f"https://example.com/signup?ref={code}"
    assert (first.status, first.body) == (200, {"code": code, "link": link, "stats": none})
    claimed = await b.claim(code.lower())
    told = claimed.body["referral"]
    assert (claimed.status, claimed.body["success"]) == (200, True)
    assert (told.keys(), told["code"], told["status"]) == ({"code", "status", "createdAt"}, code, "PENDING")
    assert (await a.get(CODE)).body["stats"] == none | {"pending": 1, "total": 1}
    await b.qualify()
    own = await b.rewarded()
    assert own["completedAt"] >= own["createdAt"] == told["createdAt"]
    assert (await a.get(CODE)).body["stats"] == none | {"rewarded": 1, "total": 1}
    (made,) = (await a.get(LIST)).body["referrals"]
    assert made == {"referredOrgId": b.id, **own}
    assert [(one["side"], one["amount"]) for one in (await a.get(LIST)).body["rewards"]] == [("referrer", 10)]
    assert (await b.get(LIST)).body["earned"] == [{"unit": "credits", "number": 1, "amount": 10}]
    (row,) = await a.service.sql.fetch("SELECT * FROM organizations WHERE org_id = $1", b.id)
    assert (row["referred_by"], row["referral_reward_claimed"], row["onboarding_completed"]) == (a.id, True, False)
    assert row["current_onboarding_step"] == "WELCOME"
    (effect,) = await a.service.sql.fetch("SELECT type, data FROM effects WHERE subject = $1", f"org:{b.id}")
    data = json.loads(effect["data"])
    assert (effect["type"], data["referrerOrgId"], data["status"]) == ("referral.rewarded", a.id, "REWARDED")
    assert data["rewards"] == {side: {"amount": 10, "unit": "credits"} for side in ("referrer", "referred")}


async def test_qualified_first(orgs: list[Org]) -> None:
    a, b, _ = orgs
    await b.qualify()
    code = await a.code()
    await until(lambda: _is_qualified(b))
    claimed = await b.claim(code)
    assert claimed.body["referral"]["status"] == "COMPLETED"
    await b.rewarded()


async def _is_qualified(org: Org) -> bool:
    row = await org.service.sql.fetchrow("SELECT qualified_at FROM referral_organizations WHERE org_id = $1", org.id)
    return row is not None and row["qualified_at"] is not None


async def test_what_is_refused(orgs: list[Org]) -> None:
    a, b, c = orgs
    codes = [await org.code() for org in orgs]
    assert (await b.claim(codes[0])).status == 200
    for org, code, said in (
        (a, codes[0], "own_code"),
        (b, codes[2], "already_referred"),
        (a, codes[1], "referral_cycle"),
        (c, "CLIP0000", "unknown_code"),
        (c, "\uff23" + codes[0][1:], "unknown_code"),
        (c, "\u0421" + codes[0][1:], "unknown_code"),
        (c, " ", "unknown_code"),
    ):
        answer = await org.claim(code)
        assert (answer.status, answer.error["code"]) == (422, said), code
        assert len(answer.error["message"]) > 20
    again = await b.claim(f"\n {codes[0].lower()}  ")
    assert (again.status, again.body["referral"]["code"]) == (200, codes[0])
    assert (await c.get(LIST)).body["referral"] is None


@pytest.mark.parametrize(
    ("code", "said", "path"),
    [
        ("", "invalid_data", "$.code"),
        ("x" * 65, "invalid_data", "$.code"),
        ("x" * 10_000, "invalid_data", "$.code"),
        ("CLIP\0AAAA", "bad_text", "$"),
        (None, "invalid_body", "$.code"),
        (42, "invalid_body", "$.code"),
        (["CLIP2345"], "invalid_body", "$.code"),
        ({"$ne": 1}, "invalid_body", "$.code"),
    ],
)
async def test_hostile_codes(orgs: list[Org], code: Any, said: str, path: str) -> None:
    answer = await orgs[0].claim(code)
    assert (answer.status, answer.error["code"], answer.error["details"]["path"]) == (422, said, path)


async def test_hostile_bodies(service: Service, orgs: list[Org]) -> None:
    by = orgs[0].token
    for body, status in (
        (b"", 400),
        (b"{", 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"code":"\\ud800"}', 400),
        (b'{"code":"A","extra":1}', 422),
        (b'{"code":"A","orgId":"somebody-else"}', 403),
        (b'{"code":"A","id":"' + b"x" * 200 + b'"}', 422),
        (b"[" * 100_000, 422),
        (b'{"code":' + b"[" * 100_000, 422),
        (b'{"code":"' + b"A" * 3_000_000 + b'"}', 422),
    ):
        answer = await service.send(body, CLAIM, by=by)
        assert (answer.status, body[:40]) == (status, body[:40]), answer
        assert answer.error["message"]
    assert (await service.send(b"code=A", CLAIM, by=by, Content_Type="application/x-www-form-urlencoded")).status == 415


async def test_a_claim_that_is_sent_again_gets_the_first_answer(orgs: list[Org]) -> None:
    a, b, c = orgs
    assert (await b.claim(code_of(a.id), id="once")).error["code"] == "unknown_code"
    code = await a.code()
    assert (await b.claim(code, id="once")).error["code"] == "unknown_code"
    first, again = await c.claim(code, id="once"), await c.claim(code, id="once")
    assert first.body == again.body
    body = {"kind": "referral.code_requested", "id": "mixed", "data": {}}
    await c.service.settle(await c.service.send(body, by=c.token))
    assert (await c.claim(code, id="mixed")).error["code"] == "id_reused"


async def test_without_waiting(orgs: list[Org]) -> None:
    a, b, _ = orgs
    answer = await b.claim(await a.code(), "?wait=0")
    assert (answer.status, answer.body.keys()) == (202, {"success", "accepted", "position"})
    read = await b.get(f"{LIST}?after={answer.body['position']}")
    assert read.body["referral"]["status"] == "PENDING"


async def test_whose_organisation(service: Service, orgs: list[Org]) -> None:
    a, b, _ = orgs
    homeless = service.token("nobody", aud="milepost")
    for method, path in (("GET", CODE), ("GET", LIST), ("POST", CLAIM)):
        body = {"code": "CLIP2345"} if method == "POST" else None
        answer = await service.ask(method, path, body, by=homeless)
        assert (answer.status, answer.error["code"]) == (422, "missing_subject")
        assert "org_id" in answer.error["message"]
        answer = await service.ask(method, path, body)
        assert (answer.status, answer.error["code"]) == (422, "missing_subject")
        answer = await service.ask(method, f"{path}?orgId={b.id}", body, by=a.token)
        assert (answer.status, answer.error["code"]) == (403, "forbidden_subject")
        assert (await service.ask(method, path, body, by=None)).status == 401
        for bad in ("%00", "x" * 129, "a%1fb", ""):
            answer = await service.ask(method, f"{path}?orgId={bad}", body)
            assert (answer.status, answer.error["code"]) == (422, "invalid_id"), bad
    assert (await service.get(f"{CODE}?orgId={a.id}")).body["code"] == code_of(a.id)
    claimed = await service.send({"code": code_of(a.id), "orgId": b.id}, CLAIM)
    assert claimed.body["referral"]["referrerOrgId"] == a.id
    assert (await b.get(LIST)).body["referral"].keys().isdisjoint({"referrerOrgId"})


async def test_a_user_can_neither_qualify_nor_reward(service: Service, orgs: list[Org]) -> None:
    a, b, _ = orgs
    data = {"referrerOrgId": a.id, "referredOrgId": b.id}
    for kind, given in (("referral.qualified", {}), ("referral.rewarded", data)):
        answer = await service.send({"kind": kind, "data": given}, by=a.token)
        assert (answer.status, answer.error["code"]) == (403, "forbidden_kind")
    forged = await service.send({"kind": "referral.rewarded", "orgId": a.id, "data": data}, Prefer="wait=10")
    assert forged.body["results"][0]["outcome"]["error"] == "unknown_referral"


async def test_the_code_is_read_from_its_model(orgs: list[Org]) -> None:
    org = orgs[0]
    code = await org.code()
    partition = stream.partition_of(f"org:{org.id}", org.service.settings.partitions)
    name = keys.model(partition, f"referral:{org.id}")
    assert await org.service.redis.get(name) == b'{"code":"%s"}' % code.encode()
    await org.service.redis.delete(name)
    assert await org.code() == code
    assert await org.service.redis.exists(name)
    facts = await org.service.sql.fetchval("SELECT count(*) FROM referral_events WHERE org_id = $1", org.id)
    assert facts == 1
    answer = await org.get(CODE)
    assert (await org.get(CODE, If_None_Match=answer.headers["ETag"])).status == 304


async def test_twenty_first_calls_at_once_make_one_code(orgs: list[Org]) -> None:
    org = orgs[0]
    answers = await asyncio.gather(*(org.code() for _ in range(20)))
    assert set(answers) == {code_of(org.id)}
    rows = await org.service.sql.fetch("SELECT code FROM referral_codes WHERE org_id = $1", org.id)
    assert len(rows) == 1


async def test_pages(service: Service, orgs: list[Org]) -> None:
    a = orgs[0]
    code = await a.code()
    ids = [f"{a.id}-{number}" for number in range(5)]
    for number, org_id in enumerate(ids):
        at = f"2026-11-0{number + 1}T08:00:00Z"
        claim = {"kind": "referral.signed_up", "orgId": org_id, "at": at, "data": {"code": code}}
        await service.settle(await service.send(claim))
    pages = [(await a.get(f"{LIST}?limit=2&page={page}")).body["referrals"] for page in (1, 2, 3, 4)]
    assert [[one["referredOrgId"] for one in page] for page in pages] == [ids[:2:-1], ids[2:0:-1], ids[:1], []]
    for query in ("limit=0", "limit=201", "page=0", "page=x", "page=\u0661", "limit=2&page=99999", "page=99999999999"):
        answer = await a.get(f"{LIST}?{query}")
        assert (answer.status, answer.error["code"]) == (400, "invalid_parameter"), query


async def test_when_the_worker_is_away(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "ISSUE_SECONDS", 0.2)
    async with running(settings) as service:
        user = service.token("u", org_id="a")
        answer = await service.get(CODE, by=user)
        assert (answer.status, answer.error["code"]) == (503, "not_ready")
        assert answer.headers["Retry-After"]
        late = await service.send({"code": "CLIP2345"}, f"{CLAIM}?wait=0.2", by=user)
        assert (late.status, late.body["accepted"]) == (202, True)


async def test_the_overview(settings: Settings) -> None:
    async with running(settings, draining=True) as service:
        admin = await service.make_key("admin")
        empty = await service.get(OVERVIEW, by=admin)
        assert (empty.body["total"], empty.body["conversionRate"], empty.body["topReferrers"]) == (0, 0.0, [])
        a, b, c, d, e = (Org(service) for _ in range(5))
        code, other = await a.code(), await b.code()
        for org, by in ((b, code), (c, code), (d, code), (e, other)):
            assert (await org.claim(by)).status == 200
        await c.qualify()
        await c.rewarded()
        told = (await service.get(OVERVIEW, by=admin)).body
        counts = {name: told[name] for name in ("codes", "pending", "completed", "rewarded", "total")}
        assert counts == {"codes": 2, "pending": 3, "completed": 0, "rewarded": 1, "total": 4}
        assert (told["conversionRate"], told["from"]) == (0.25, None)
        assert told["medianSecondsToComplete"] > 0
        top = {"orgId": a.id, "code": code, "total": 3, "converted": 1, "rewarded": 1, "conversionRate": 0.3333}
        assert told["topReferrers"][0] == top
        assert [one["orgId"] for one in told["topReferrers"]] == [a.id, b.id]
        assert told["rewards"] == [
            {"side": side, "unit": "credits", "number": 1, "amount": 10} for side in ("referrer", "referred")
        ]
        assert len((await service.get(f"{OVERVIEW}?limit=1", by=admin)).body["topReferrers"]) == 1
        assert (await service.get(f"{OVERVIEW}?timeRange=24h", by=admin)).body["total"] == 4
        past = "from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z"
        assert (await service.get(f"{OVERVIEW}?{past}", by=admin)).body["total"] == 0
        assert (await service.get(f"{OVERVIEW}?timeRange=1y", by=admin)).status == 400
        assert (await service.get(OVERVIEW)).error["code"] == "missing_scope"
        assert (await service.get(OVERVIEW, by=a.token)).status == 403
