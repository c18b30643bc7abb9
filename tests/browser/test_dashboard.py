"""The dashboard in a real browser: sign-in, the API's own numbers, hostile texts, a retry. Pictures lie in tmp_path."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from api.admin import page as dashboard
from api.analytics import real_time
from bench import customers as lives
from bench import traffic
from db import keys
from db.settings import Settings
from jobs.analytics import rolling
from tests.api.service import Service, running
from tests.api.test_admin import bury, click
from tests.api.test_exports import MANY, Locked, many
from tests.api.test_webhooks import LOCAL
from tests.browser import chromium
from tests.browser.chromium import Page
from tests.worker import receiver
from worker import privacy_jobs
from worker.context import Context

VIEWS = (
    *("overview", "live", "funnel", "journeys", "popular", "paths", "retention", "onboarding", "referrals"),
    *("courses", "usage", "performance", "effects", "dead", "pipe", "erasures"),
)
HOSTILE = ("<script>window.harmed=1</script>", '"><img src=x onerror=window.harmed=1>')
SCRIPT, IMAGE = HOSTILE
READY = "document.getElementById('view') && !document.querySelector('#view[aria-busy]')"


class Operator:
    """Somebody at the dashboard."""

    def __init__(self, service: Service, page: Page, key: str, shots: Path) -> None:
        self.service, self.page, self.key, self.shots = service, page, key, shots

    async def signs_in(self, key: str | None = None) -> None:
        """Type a key and send the form."""
        await self.page.until("!!document.getElementById('key')")
        await self.page.js("document.getElementById('key').select()")
        await self.page.do("Input.insertText", text=key or self.key)
        await self.page.js("document.querySelector('form button').click()")

    async def goes(self, view: str) -> str:
        """Open a view and wait for its answer; all of its text."""
        await self.page.js(f"location.hash = '#/{view}'")
        await self.page.until(f"location.hash === {json.dumps('#/' + view)} && {READY}")
        text: str = await self.page.js("document.querySelector('main').textContent")
        return text

    async def figures(self) -> dict[str, str]:
        """The large numbers of a view, by their names."""
        rows = "[...document.querySelectorAll('.figure')]"
        found: dict[str, str] = await self.page.js(
            f"Object.fromEntries({rows}.map(one => [one.firstChild.textContent, one.lastChild.firstChild.textContent]))"
        )
        return found

    def requests(self) -> list[dict[str, Any]]:
        """What the browser asked for."""
        sent = [one for one in self.page.events if one["method"] == "Network.requestWillBeSent"]
        return [one["params"]["request"] for one in sent]

    def complaints(self) -> list[str]:
        """Exceptions, and what the policy refused."""
        thrown = [one for one in self.page.events if one["method"] == "Runtime.exceptionThrown"]
        logged = [one["params"]["entry"]["text"] for one in self.page.events if one["method"] == "Log.entryAdded"]
        return [str(one) for one in thrown] + [text for text in logged if "Refused" in text or "violates" in text]


@asynccontextmanager
async def _at(service: Service, tmp_path: Path) -> AsyncIterator[Operator]:
    profile, shots = tmp_path / "profile", tmp_path / "shots"
    profile.mkdir()
    shots.mkdir()
    print("pictures:", shots)
    async with chromium.browser(chromium.program(), profile) as page:
        for domain in ("Page", "Runtime", "Network", "Log"):
            await page.do(f"{domain}.enable")
        await page.looks(1360, 900)
        await page.do("Page.navigate", url=str(service.client.make_url("/admin/")))
        yield Operator(service, page, await service.make_key("admin"), shots)


@pytest.fixture
async def operator(settings: Settings, tmp_path: Path) -> AsyncIterator[Operator]:
    """A browser at the sign-in of an API of this test's own, with a drain."""
    async with running(settings.model_copy(update=LOCAL), draining=True) as service, _at(service, tmp_path) as found:
        yield found


async def sessions(service: Service) -> None:
    """Three sessions, one of which orders; every text that clients give is hostile."""
    for number in range(3):
        one = {"sessionId": f"{SCRIPT}{number}"}
        selection = {"eventType": "selection", "category": IMAGE, "elementId": SCRIPT, "timeSpent": 1200}
        device = {"type": IMAGE, "width": 360, "height": 740}
        values = {"selectionValue": SCRIPT, "previousValue": IMAGE, "deviceInfo": device}
        await service.send({**one, "interaction": selection | values}, "/api/sessions/track-interaction")
        saved = {"configuration": {SCRIPT: IMAGE}, "trigger": "order_attempt" if number else "auto_save"}
        await service.send({**one, **saved, "totalPrice": 250_000}, "/api/sessions/save-config")
        metric = {"metricName": SCRIPT, "value": 12.5, "additionalData": {"path": IMAGE}}
        await service.settle(await service.send({**one, **metric}, "/api/performance/track"))
    await roll(service)


async def roll(service: Service) -> None:
    """What the schedule does for the analytics."""
    done = False
    while not done:
        async with service.sql.acquire() as conn, conn.transaction():
            done = (await rolling.roll(conn, datetime.now(UTC))).is_done


async def customers(service: Service, key: str) -> None:
    """Courses, onboarding, referrals, usage, effects and dead letters with hostile texts."""
    course = {"title": SCRIPT, "lessons": [{"id": "l1", "title": IMAGE}]}
    assert (await service.ask("PUT", "/v1/courses/c1", course, by=key)).status == 200
    enrolled = {"kind": "course.enrolled", "userId": SCRIPT, "data": {"courseId": "c1", "learnerName": IMAGE}}
    used = {"kind": "usage.recorded", "userId": IMAGE, "data": {"action": "DIAGRAM_UPLOAD", "quantity": 4}}
    await service.settle(await service.send({"actions": [enrolled, used]}))
    code = (await service.get(f"/v1/referrals/code?orgId={SCRIPT.replace('/', '%2f')}")).body["code"]
    await service.send({"orgId": "friend", "code": code}, "/v1/referrals/claim")
    await receiver.commit(service.sql, [receiver.effect(1, "certificate.issued")])
    await bury(service, click("again"), message=IMAGE)
    await bury(service, b"\xff", code=SCRIPT, message=IMAGE)


async def test_a_key_is_asked_for_and_forgotten(operator: Operator) -> None:
    page = operator.page
    await operator.signs_in("mp_nobody")
    wrong = "document.querySelector('[role=alert]').textContent"
    await page.until(f"{wrong}.includes('not known')")
    reader = await operator.service.make_key("read")
    await operator.signs_in(reader)
    await page.until(f"{wrong}.includes('lacks the scope admin')")
    await operator.signs_in("two words")
    await page.until(f"{wrong}.includes('no key')")
    assert await page.js("sessionStorage.length") == 0
    await page.shot(operator.shots / "sign-in.png")
    await operator.signs_in()
    await page.until(READY)
    await page.do("Page.reload")
    await page.until(READY)
    await page.js("document.querySelector('.leave').click()")
    await page.until("!!document.getElementById('key')")
    kept = "JSON.stringify([location.href, document.cookie, {...localStorage}, {...sessionStorage}])"
    assert operator.key not in await page.js(kept)
    urls = [one["url"] for one in operator.requests()]
    assert [url for url in urls if "mp_" in url] == []
    own = str(operator.service.client.make_url("/"))
    assert [url for url in urls if not url.startswith((own, "data:"))] == []
    assert operator.complaints() == []


async def test_a_key_that_is_revoked_signs_out(operator: Operator) -> None:
    await operator.signs_in()
    await operator.page.until(READY)
    await operator.page.js("sessionStorage.setItem('milepost-admin-key', 'mp_revoked')")
    await operator.page.do("Page.reload")
    await operator.page.until("document.querySelector('[role=alert]')?.textContent.includes('signed out')")
    assert await operator.page.js("sessionStorage.length") == 0


async def test_the_overview_shows_what_the_api_says(operator: Operator) -> None:
    await sessions(operator.service)
    await operator.signs_in()
    await operator.page.until(READY)
    said = (await operator.service.get("/api/admin/analytics/overview?timeRange=7d", by=operator.key)).body
    text = await operator.goes("overview?range=7d")
    assert "250K to 300K" in text, "the one bucket ends where the API says"
    shown = await operator.figures()
    assert said["sessions"] == 3
    assert shown["Sessions"] == str(said["sessions"])
    assert shown["Interactions"] == str(said["interactions"])
    assert shown["Unique users"] == str(said["uniqueUsers"])
    assert shown["Conversion"] == f"{said['conversionRate'] * 100:.1f} %"
    await operator.page.until("document.querySelectorAll('.chart canvas').length === 2")
    assert "current to" in await operator.page.js("document.getElementById('through').textContent")
    await operator.page.js("document.querySelector('.astable').open = true")
    await operator.page.until("document.querySelectorAll('.astable tbody tr').length >= 7")


async def test_hostile_texts_stay_texts_in_every_view(operator: Operator) -> None:
    await sessions(operator.service)
    await customers(operator.service, operator.key)
    await operator.signs_in()
    await operator.page.until(READY)
    seen: set[str] = set()
    for view in (*VIEWS, f"journeys?session={_quoted(SCRIPT + '1')}", f"performance?metric={_quoted(SCRIPT)}"):
        text = await operator.goes(view)
        assert "could not show" not in text, view
        seen |= {view.split("?", 1)[0] for hostile in HOSTILE if hostile in text}
        assert await operator.page.js("document.querySelectorAll('main img, main script, #app iframe').length") == 0
        await operator.page.shot(operator.shots / f"{view.split('?', 1)[0]}.png")
    assert seen >= {
        *("overview", "live", "journeys", "popular", "paths", "courses", "usage", "referrals", "performance", "dead"),
    }
    assert await operator.page.js("window.harmed") is None
    assert operator.complaints() == []


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


async def test_a_dead_letter_is_retried_and_another_discarded(operator: Operator) -> None:
    letter, bad = await bury(operator.service, click("again")), await bury(operator.service, b"\xff")
    await operator.signs_in()
    await operator.page.until(READY)
    await operator.goes("dead")
    await operator.page.js(f"document.querySelector('[data-key=\"retry-{letter}\"]').click()")
    await operator.page.until("document.getElementById('said').textContent.includes('Sent through the pipe again')")
    await operator.page.until(f"!document.querySelector('[data-key=\"retry-{letter}\"]')")
    async with operator.service.sql.acquire() as conn:
        await _until_applied(operator.service, conn)
    await operator.page.js(f"document.querySelector('[data-key=\"discard-{bad}\"]').click()")
    await operator.page.until("document.querySelector('dialog')?.open")
    await operator.page.js("document.querySelector('dialog .danger').click()")
    await operator.page.until("document.querySelector('main').textContent.includes('No dead letters')")


async def test_all_letters_of_a_filter_are_retried_after_a_question(operator: Operator) -> None:
    service, page = operator.service, operator.page
    for number in range(3):
        await bury(service, click(f"all-{number}"), "poison")
    await bury(service, b"\xff", "poison")
    other = await bury(service, click("other"), "elsewhere")
    await operator.signs_in()
    await page.until(READY)
    assert await page.until("document.getElementById('health').textContent") == "Pipe: 1 warning"
    await operator.goes("dead?code=poison")
    asked = await page.js("document.querySelector('[data-key=retry-all]').textContent")
    assert asked == "Retry all 4"
    await page.js("document.querySelector('[data-key=retry-all]').click()")
    await page.until("document.querySelector('dialog')?.open")
    assert "4 open letters" in await page.js("document.querySelector('dialog').textContent")
    assert await service.sql.fetchval("SELECT count(*) FROM dead_letters WHERE retried_at IS NOT NULL") == 0
    await operator.page.shot(operator.shots / "dead-all.png")
    await page.js("document.querySelector('dialog .main').click()")
    await page.until("document.querySelector('.told')?.textContent.includes('3 letters sent through the pipe again')")
    assert "1 letter not: it cannot be decoded" in await page.js("document.querySelector('.told').textContent")
    rows = await service.sql.fetch("SELECT id, code FROM dead_letters WHERE retried_at IS NULL")
    assert {row["code"] for row in rows} == {"poison", "elsewhere"}
    assert other in {str(row["id"]) for row in rows}
    assert len(rows) == 2


async def test_somebody_is_erased_after_their_id_was_typed_twice(operator: Operator) -> None:
    service, page = operator.service, operator.page
    await service.settle(await service.send({"kind": "page.viewed", "sessionId": "s-ann", "userId": "ann"}))
    await operator.signs_in()
    await page.until(READY)
    assert "Nobody was erased yet" in await operator.goes("erasures")
    await page.js("document.querySelector('[data-key=erase]').click()")
    await page.until("document.querySelector('dialog')?.open")
    for field, typed, is_shut in (
        ("erase-user", "ann", True),
        ("erase-again", "an", True),
        ("erase-again", "n", False),
    ):
        await page.js(f"document.getElementById('{field}').focus()")
        await page.do("Input.insertText", text=typed)
        assert await page.js("document.querySelector('dialog .danger').disabled") is is_shut
    await page.shot(operator.shots / "erase.png")
    await page.key("Enter", 13)
    await page.js("document.querySelector('dialog form').requestSubmit()")
    await page.until("document.querySelector('main').textContent.includes('waiting')")
    made = {"pool": service.sql, "settings": service.settings, "log": service.redis}
    assert await privacy_jobs.erase_people(cast("Context", made)) == "1 erased"
    await page.until("document.querySelector('main').textContent.includes('done')")
    assert await service.sql.fetchval("SELECT count(*) FROM user_sessions") == 0
    await page.do("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(operator.shots))
    await page.js("document.querySelector('[data-key^=save-]').click()")
    async with asyncio.timeout(60):
        while not (files := list(operator.shots.glob("erasure-*.json"))):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)
    receipt = json.loads(files[0].read_text())
    assert (receipt["status"], receipt["removed"]["user_sessions"]) == ("done", 1)
    assert "ann" not in json.dumps(receipt["person"])
    assert operator.complaints() == []


async def test_a_dead_effect_is_delivered_again(operator: Operator) -> None:
    service = operator.service
    webhook = {"url": "http://127.0.0.1:9/hook", "types": ["certificate.issued"]}
    assert (await service.send(webhook, "/v1/admin/webhooks", by=operator.key)).status == 201
    await receiver.commit(service.sql, [receiver.effect(1, "certificate.issued")])
    await service.sql.execute("UPDATE deliveries SET status = 'dead', reason = $1, done_at = now()", IMAGE)
    await operator.signs_in()
    await operator.page.until(READY)
    await receiver.commit(service.sql, [receiver.effect(2, "first_created_clip")])
    assert "for nobody" in await operator.goes("effects")
    assert IMAGE in await operator.goes("effects?status=dead")
    await operator.page.js("document.querySelector('[data-key^=retry-msg]').click()")
    await operator.page.until("document.getElementById('said').textContent.includes('1 to be delivered again')")
    await operator.page.until("document.querySelector('main').textContent.includes('No effects')")
    assert await service.sql.fetchval("SELECT status FROM deliveries") == "pending"


@pytest.mark.parametrize(
    ("verb", "told", "status"),
    [("retry", "2 to be delivered again", "pending"), ("discard", "2 put away", "discarded")],
)
async def test_all_dead_effects_are_done_after_a_question(
    operator: Operator, verb: str, told: str, status: str
) -> None:
    service, page = operator.service, operator.page
    webhook = {"url": "http://127.0.0.1:9/hook", "types": ["certificate.issued"]}
    assert (await service.send(webhook, "/v1/admin/webhooks", by=operator.key)).status == 201
    await receiver.commit(service.sql, [receiver.effect(number, "certificate.issued") for number in (1, 2)])
    await service.sql.execute("UPDATE deliveries SET status = 'dead', done_at = now()")
    await operator.signs_in()
    await page.until(READY)
    await operator.goes("effects?status=dead")
    await page.js(f"document.querySelector('[data-key={verb}-all]').click()")
    await page.until("!!document.querySelector('dialog[open]')")
    assert await service.sql.fetchval("SELECT count(*) FROM deliveries WHERE status = 'dead'") == 2
    await page.js(
        f"[...document.querySelectorAll('dialog button')].find(one => /{verb} all/i.test(one.textContent)).click()"
    )
    await page.until(f"document.getElementById('said').textContent.includes('{told}')")
    assert {row[0] for row in await service.sql.fetch("SELECT status FROM deliveries")} == {status}


async def _until_applied(service: Service, conn: asyncpg.Connection) -> None:
    """The session that the letter is of has it."""
    answer = await service.send({"kind": "page.viewed", "sessionId": "again", "data": {"path": "/"}})
    await service.settle(answer)
    assert await conn.fetchval("SELECT count(*) FROM interaction_events WHERE session_id = 'again'") == 1


async def test_it_works_by_keyboard_and_on_a_small_screen(operator: Operator) -> None:
    page = operator.page
    await sessions(operator.service)
    await operator.signs_in()
    await page.until(READY)
    await page.js("document.querySelector('.nav a[href^=\"#/funnel\"]').focus()")
    await page.key("Enter", 13)
    await page.until(f"document.querySelector('h1').textContent === 'Funnel' && {READY}")
    assert await page.js("document.activeElement.tagName") == "H1"
    ranges = "document.querySelectorAll('.ranges a')"
    await page.key("Tab", 9)
    for place in range(4):
        assert await page.js(f"document.activeElement === {ranges}[{place}]")
        assert await page.js("getComputedStyle(document.activeElement).outlineWidth") == "2px", "also of the chosen one"
        await page.key("Tab", 9)
    for scheme in ("light", "dark"):
        await page.looks(320, 740, scheme)
        for view in VIEWS:
            await operator.goes(view)
            wide = await page.js("document.documentElement.scrollWidth")
            assert wide <= 320, (view, wide)
            await page.shot(operator.shots / f"{view}-320-{scheme}.png")
    assert await page.js("document.querySelector('.menu').getAttribute('aria-expanded')") == "false"
    await page.js("document.querySelector('.menu').click()")
    assert await page.js("getComputedStyle(document.querySelector('.nav')).display") == "grid"


async def test_any_days_can_be_looked_at(operator: Operator) -> None:
    service, page = operator.service, operator.page
    old = {"kind": "page.viewed", "sessionId": "old", "at": "2015-05-18T10:00:00Z", "data": {"path": "/"}}
    await service.settle(await service.send(old))
    await roll(service)
    await operator.signs_in()
    await page.until(READY)
    await page.js("document.querySelector('.days summary').click()")
    fill = "document.querySelectorAll('.days input')[{}].value = '{}'"
    for place, day in enumerate(("2015-05-17", "2015-05-18")):
        await page.js(fill.format(place, day))
    await page.js("document.querySelector('.days button').click()")
    await page.until(f"location.hash === '#/overview?range=2015-05-17..2015-05-18' && {READY}")
    await page.until("document.getElementById('through').textContent.startsWith('17 May – 18 May 2015')")
    assert (await operator.figures())["Sessions"] == "1"
    assert await page.js("document.querySelector('.ranges [aria-current]').textContent") == "Days"
    await page.js("document.querySelector('.nav a[href^=\"#/journeys\"]').click()")
    await page.until("location.hash === '#/journeys?range=2015-05-17..2015-05-18'")
    await page.until("document.querySelector('main').textContent.includes('1 shown')")
    assert "18 May 2015, 10:00:00" in await page.js("document.querySelector('main').textContent")
    for view in ("funnel", "paths", "onboarding", "referrals", "performance"):
        assert "17 May – 18 May 2015" in await operator.goes(f"{view}?range=2015-05-17..2015-05-18"), view
    assert "from lies before to" in await operator.goes("overview?range=2015-05-18..2015-05-16")
    assert "17 May – 18 May 2015" in await operator.goes("funnel?range=2015-05-17..2015-05-18")
    assert "17 May – 18 May 2015" in await operator.goes("overview?range=2015-99-17..2015-05-18"), "as before"


async def test_no_table_is_cut_off(operator: Operator) -> None:
    service, end = operator.service, datetime.now(UTC)
    code = (await service.get("/v1/referrals/code?orgId=first")).body["code"]
    visits = traffic.simulated(8, end=end, run="a").lanes
    for lane in (*visits, *lives.lanes(80, 7, end, "demo-a-", learning=True, codes=[code])):
        for request in lane:
            actions = [json.loads(line) for line in request.lines]
            await service.settle(await service.send({"actions": actions}))
    await roll(service)
    await operator.signs_in()
    await operator.page.until(READY)
    wide = "[...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth + 1)"
    for width in (1360, 1130, 1024, 800, 390):
        await operator.page.looks(width, 900)
        for view in ("live", "journeys", "onboarding", "referrals", "courses", "usage", "performance", "pipe"):
            text = await operator.goes(view)
            assert ("Spent on itBetween" in text) == (view == "onboarding")
            found = await operator.page.js(
                f"{wide}.map(one => [one.getAttribute('aria-label'), one.scrollWidth - one.clientWidth])"
            )
            assert not found, (width, view)


async def test_an_api_that_fails_is_told(operator: Operator) -> None:
    await operator.signs_in()
    await operator.page.until(READY)
    text = await operator.goes("journeys?session=nobody")
    assert "there is no such session" in text
    assert await operator.page.js("document.querySelector('.failed a').getAttribute('href')") == "#/journeys?range=30d"
    await operator.page.do("Network.setBlockedURLs", urls=["*/api/admin/analytics/*"])
    assert "does not answer" in await operator.goes("paths?range=7d")
    await operator.page.do("Network.setBlockedURLs", urls=[])
    unknown = "document.getElementById('health').textContent === 'Pipe: not known'"
    assert await operator.page.js(unknown), "what was well before is not said any more"
    await operator.page.js("document.querySelector('[data-key=retry]').click()")
    await operator.page.until("document.querySelector('main').textContent.includes('Nobody went')")
    await operator.page.until(f"!({unknown})")
    assert "POST /v1/actions" in await operator.goes("overview"), "where sessions come from"


async def test_live_figures_are_streamed_until_somebody_leaves(operator: Operator) -> None:
    watch = operator.service.client.server.app[real_time.WATCH]  # type: ignore[attr-defined]
    await operator.signs_in()
    await operator.page.until(READY)
    await operator.goes("live")
    async with asyncio.timeout(60):
        while watch.lookers != 1:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)
    body = {"sessionId": "just-now", "interaction": {"eventType": "click", "category": "nest"}}
    await operator.service.settle(await operator.service.send(body, "/api/sessions/track-interaction"))
    await roll(operator.service)
    await operator.page.until("document.querySelector('main').textContent.includes('just-now')")
    asked = [one for one in operator.requests() if one["url"].endswith("/real-time")]
    assert len(asked) <= 2, "while the stream brings answers nobody asks"
    await operator.goes("courses")
    async with asyncio.timeout(60):
        while watch.lookers:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)
    assert operator.complaints() == []


async def test_it_works_below_a_path_of_a_proxy(operator: Operator) -> None:
    async def forward(request: web.Request) -> web.Response:
        url = operator.service.client.make_url("/" + request.match_info["path"]).with_query(request.query)
        headers = {name: request.headers[name] for name in ("Authorization", "Accept") if name in request.headers}
        async with aiohttp.ClientSession() as http, http.get(url, headers=headers, allow_redirects=False) as answer:
            kept = {name: answer.headers[name] for name in ("Content-Type", "Location") if name in answer.headers}
            policy = {"Content-Security-Policy": answer.headers.get("Content-Security-Policy", "default-src 'none'")}
            return web.Response(body=await answer.read(), status=answer.status, headers=kept | policy)

    proxy = web.Application()
    proxy.router.add_get("/below/milepost/{path:.*}", forward)
    async with TestServer(proxy) as server:
        await operator.page.do("Page.navigate", url=str(server.make_url("/below/milepost/admin")))
        await operator.page.until("location.pathname === '/below/milepost/admin/'")
        await operator.signs_in()
        await operator.page.until(READY)
        assert "Nobody went" in await operator.goes("paths")
    assert operator.complaints() == []


async def test_the_pipe_tells_the_pace_of_each_partition(operator: Operator) -> None:
    now = time.time()
    beat = {"at": now, "started": now - 60, "applied": 90, "rates": {"1": 1.5}, "failure": None}
    await operator.service.redis.hset(keys.WORKERS, "host:1", json.dumps(beat))  # type: ignore[misc]
    await operator.signs_in()
    await operator.goes("pipe")
    cell = "document.querySelector('.scroll[aria-label=Partitions] tbody').rows[{}].cells[4].textContent"
    assert [await operator.page.js(cell.format(row)) for row in range(2)] == ["0", "1.5"]


def test_every_view_is_looked_at() -> None:
    names = {path.stem.removeprefix("view_") for path in dashboard.PATH.glob("view_*.js")}
    assert names == set(VIEWS)


async def test_sessions_page_by_page_and_without_bots(operator: Operator) -> None:
    data = {"eventType": "click", "category": "nest"}
    made = [{"kind": "interaction.recorded", "sessionId": f"s-{number}", "data": data} for number in range(101)]
    await operator.service.settle(await operator.service.send({"actions": made}))
    token = operator.service.token("ann", aud="milepost", scope="ingest")
    bot = made[0] | {"sessionId": "crawler"}
    await operator.service.settle(await operator.service.send(bot, by=token, User_Agent="testbot/1.0 (+http://x.org)"))
    await roll(operator.service)
    await operator.signs_in()
    await operator.page.until(READY)
    text = await operator.goes("journeys?range=7d")
    assert "100 shown, 1 session of bots left out" in text
    assert "crawler" not in text
    await operator.page.js("document.querySelector('[data-key=older]').click()")
    await operator.page.until("document.querySelector('main').textContent.includes('1 shown')")
    assert "cursor=" in await operator.page.js("location.hash")
    select = "document.querySelector('[data-key=choice-Bots]')"
    await operator.page.js(f"{select}.value = 'shown'; {select}.dispatchEvent(new Event('change'))")
    await operator.page.until("document.querySelector('main').textContent.includes('crawler')")
    assert "cursor=" not in await operator.page.js("location.hash")
    assert operator.complaints() == []


async def test_somebody_is_exported_to_a_file_or_not_at_all(operator: Operator) -> None:
    service, page = operator.service, operator.page
    await many(service, "ann")
    await page.do("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(operator.shots))
    await operator.signs_in()
    await page.until(READY)
    await operator.goes("erasures")
    await page.js("document.querySelector('[data-key=export]').click()")
    await page.until("document.querySelector('dialog')?.open && document.activeElement.id === 'export-user'")
    await page.do("Input.insertText", text="ann")
    async with Locked(service, "usage_records") as lock:
        await page.js("document.querySelector('dialog form').requestSubmit()")
        await service.sql.execute("SELECT pg_terminate_backend($1)", await lock.wait())
        await page.until("document.querySelector('dialog').textContent.includes('broke off before its end')")
        assert list(operator.shots.glob("export*")) == []
    await page.shot(operator.shots / "broken-off.png")
    await page.js("document.querySelector('dialog form').requestSubmit()")
    await page.until(f"document.getElementById('said').textContent.includes('Exported {MANY:,} rows')")
    async with asyncio.timeout(60):
        while not (files := list(operator.shots.glob("export.ndjson"))):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)
    lines = files[0].read_text().splitlines()
    assert json.loads(lines[-1]) == {"table": "end", "row": {"rows": MANY}}
    assert len(lines) == MANY + 1
    assert operator.complaints() == []
