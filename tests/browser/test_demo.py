"""A user's page and its components in a real browser: live, safe with any text, each notice once."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from tests.api.listening import audience
from tests.api.service import Service
from tests.browser.chromium import Page
from tests.browser.pages import EMBEDDING, shop

HOSTILE = '<img src=x onerror="window.hit = 1"><script>window.hit = 1</script>&amp;'
CONTRAST = Path(__file__).with_name("contrast.js")
STEPS = "document.querySelector('milepost-checklist')?.shadowRoot"
USAGE = "document.querySelector('milepost-usage')?.shadowRoot"
TOAST, BANNER, DIALOG = ".toast", ".banner", "dialog[open]"
EACH = "[...document.querySelectorAll('milepost-checklist, milepost-usage')]"
ENTER: dict[str, Any] = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
STILL = f"{EACH}.every((one) => one.shadowRoot.getAnimations().every((each) => each.playState === 'finished'))"
LEAVE_IT = "(event) => { window.told = event.detail; event.preventDefault(); }"
ASKED = (
    "const given = %s; window.asked = 0; const provider = async () => given[Math.min(1, window.asked++)];"
    f"for (const one of {EACH}) one.tokenProvider = provider"
)


@dataclass
class Visitor:
    """A user at a page."""

    service: Service
    page: Page
    id: str

    @property
    def token(self) -> str:
        """Of this user."""
        return self.service.token(self.id)

    async def open(self, *, fragment: bool = True) -> None:
        """The page, signed in by the link."""
        address = self.service.client.make_url("/demo/")
        await self.page.do("Page.navigate", url="about:blank")
        await self.page.do("Page.navigate", url=f"{address}#token={self.token}" if fragment else str(address))
        await self.page.until("document.querySelectorAll('#meters button').length > 6")
        await self.page.until("document.querySelectorAll('#steps button').length > 5")

    async def use(self, action: str, quantity: int = 1, status: int = 200) -> None:
        """As the product's own server does it."""
        body = {"userId": self.id, "action": action, "quantity": quantity}
        answer = await self.service.send(body, "/v1/usage/consume?wait=10")
        assert answer.status == status, answer.body

    async def notices(self) -> dict[str, int]:
        """How many of each there are."""
        kinds = json.dumps([TOAST, BANNER, DIALOG])
        found = await self.page.js(f"{kinds}.map((one) => {USAGE}.querySelectorAll(one).length)")
        return dict(zip(("toast", "banner", "dialog"), found, strict=True))

    async def shows(self, words: str, where: str = USAGE) -> None:
        """Wait for a text in a component."""
        await self.page.until(f"({where}?.querySelector('.card')?.textContent ?? '').includes({json.dumps(words)})")


@pytest.fixture
def visitor(service: Service, page: Page) -> Visitor:
    """Somebody new."""
    return Visitor(service, page, f"user-{uuid.uuid4().hex[:8]}")


def unexpected(page: Page) -> list[Any]:
    """What the page threw, and what its policy stopped."""
    thrown = [one for one in page.events if one["method"] == "Runtime.exceptionThrown"]
    return thrown + [
        one
        for one in page.events
        if one["method"] == "Log.entryAdded" and one["params"]["entry"]["source"] in {"security", "javascript"}
    ]


async def test_each_threshold_has_its_notice_once(visitor: Visitor, pictures: Path) -> None:
    page = visitor.page
    await visitor.open()
    await visitor.use("STORAGE_BYTES", 80 * 2**20)
    await page.until(f"!!{USAGE}.querySelector('{TOAST}')")
    assert await visitor.notices() == {"toast": 1, "banner": 0, "dialog": 0}
    await page.until(STILL)
    await page.shot(pictures / "toast.png", whole=False)
    await visitor.use("STORAGE_BYTES", 2**20)  # above it already: nothing new
    await visitor.shows("81 MB of 100 MB")
    assert await visitor.notices() == {"toast": 1, "banner": 0, "dialog": 0}
    await visitor.use("STORAGE_BYTES", 10 * 2**20)
    await page.until(f"!!{USAGE}.querySelector('{BANNER}')")
    assert await visitor.notices() == {"toast": 0, "banner": 1, "dialog": 0}
    assert "91 % used: 91 MB of 100 MB" in await page.js(f"{USAGE}.querySelector('{BANNER}').textContent")
    await page.until(STILL)
    await page.shot(pictures / "banner.png", whole=False)
    await visitor.use("STORAGE_BYTES", 9 * 2**20)
    await page.until(f"!!{USAGE}.querySelector('{DIALOG}')")
    assert await visitor.notices() == {"toast": 0, "banner": 0, "dialog": 1}
    await page.until(STILL)
    await page.shot(pictures / "dialog.png", whole=False)
    offered = await page.js(f"{USAGE}.querySelector('dialog a').href")
    assert offered == "https://example.com/upgrade?plan=PROFESSIONAL"
    await page.key("Escape", 27)
    await page.until(f"!{USAGE}.querySelector('dialog')")
    await visitor.use("STORAGE_BYTES", 1, status=429)
    await page.do("Page.reload")
    await visitor.shows("Limit reached")
    assert await visitor.notices() == {"toast": 0, "banner": 0, "dialog": 0}
    assert visitor.id not in await page.js("JSON.stringify({...localStorage})")
    assert unexpected(page) == []


async def test_a_jump_over_all_thresholds_is_one_dialog(visitor: Visitor) -> None:
    await visitor.open()
    await visitor.use("AI_ANALYSIS", 3)
    await visitor.page.until(f"!!{USAGE}.querySelector('{DIALOG}')")
    assert await visitor.notices() == {"toast": 0, "banner": 0, "dialog": 1}
    await visitor.page.js(f"{USAGE}.querySelector('dialog button').click()")
    await visitor.page.until(f"!{USAGE}.querySelector('dialog')")


async def test_notices_are_closed_with_the_keyboard_and_by_the_page(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.open()
    await visitor.use("DIAGRAM_UPLOAD", 4)
    await page.until(f"!!{USAGE}.querySelector('{TOAST}')")
    await page.js(f"{USAGE}.querySelector('{TOAST} button').focus()")
    await page.do("Input.dispatchKeyEvent", type="keyDown", **ENTER)
    await page.until(f"!{USAGE}.querySelector('{TOAST}')")
    await page.js(f"document.addEventListener('milepost-warning', {LEAVE_IT})")
    await visitor.use("AI_ANALYSIS", 3)
    await page.until("window.told?.threshold === 100 && window.told.meter === 'AI_ANALYSIS'")
    assert await visitor.notices() == {"toast": 0, "banner": 0, "dialog": 0}


async def test_steps_follow_what_a_server_does(visitor: Visitor) -> None:
    await visitor.open()
    await visitor.shows("0 of 6 done", STEPS)
    answer = await visitor.service.send({"userId": visitor.id}, "/v1/onboarding/steps/WELCOME/complete")
    assert answer.status == 200
    await visitor.shows("1 of 6 done", STEPS)
    page = visitor.page
    assert await page.js(f"{STEPS}.querySelector('li[data-status=completed]').textContent") == "Welcomedone"
    assert await page.js(f"{STEPS}.querySelector('[aria-current=step]').textContent") == "Upload video"
    assert "Welcome: done. 17 %." in await page.js(f"{STEPS}.querySelector('.hidden[role=status]').textContent")
    body = {"userId": visitor.id, "action": "created_clip", "projectId": "p"}
    assert (await visitor.service.send(body, "/v1/onboarding/progress/update")).status == 200
    features = STEPS.replace("milepost-checklist", "milepost-checklist[list=features]")
    await visitor.shows("1 of 4 done", features)


async def test_the_buttons_do_what_they_say(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.open()
    await page.js("document.querySelector('#steps [data-name=UPLOAD_VIDEO]').click()")
    await visitor.shows("1 of 6 done", STEPS)
    assert await page.js("document.querySelector('#steps [data-name=UPLOAD_VIDEO]').disabled") is True
    for _ in range(4):
        before = await page.js("document.querySelectorAll('#log li').length")
        await page.js("document.querySelector('#meters [data-name=AI_ANALYSIS]').click()")
        await page.until(f"document.querySelectorAll('#log li').length > {before}")
    said = await page.js("document.querySelector('#log li').textContent")
    assert said.startswith("POST /v1/usage/consume 429 plan_limit_exceeded: AI_ANALYSIS: 3 of 3")
    await page.js("document.querySelector('#meters [data-name=STORAGE_BYTES]').click()")
    await page.until("document.querySelector('#log li').textContent.endsWith('200 10 MB of 100 MB used')")
    await page.js("document.querySelector('#meters [data-name=PROCEDURE_VIEW]').click()")
    await page.until("document.querySelector('#log li').textContent.endsWith('200 1 used, unlimited')")


async def test_the_token_leaves_the_address_and_stays_in_the_tab(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.open()
    token = await page.js("sessionStorage.getItem('milepost.demo.token')")
    assert token
    assert await page.js("location.href") == str(visitor.service.client.make_url("/demo/"))
    entries = (await page.do("Page.getNavigationHistory"))["entries"]
    assert [one for one in entries if token in one["url"]] == []
    assert token not in await page.js(
        "JSON.stringify({...localStorage}) + document.cookie + document.documentElement.outerHTML"
    )
    sent = [one["params"]["request"] for one in page.events if one["method"] == "Network.requestWillBeSent"]
    assert [one["url"] for one in sent if token in URL(one["url"]).query_string] == []
    await page.do("Page.reload")
    await page.until("document.querySelectorAll('#meters button').length > 6")
    await page.js("document.getElementById('leave').click()")
    assert await page.js("[sessionStorage.length, document.getElementById('shown').hidden]") == [0, True]
    await page.js(f"document.getElementById('token').value = {json.dumps(visitor.service.token('x', exp=1))}")
    await page.js("document.querySelector('#signin button').click()")
    await page.until("document.getElementById('wrong').textContent.includes('not valid any more')")


async def test_everything_comes_from_the_api_itself(visitor: Visitor) -> None:
    await visitor.open()
    sent = [
        one["params"]["request"]["url"] for one in visitor.page.events if one["method"] == "Network.requestWillBeSent"
    ]
    own = str(visitor.service.client.make_url("/"))
    assert [url for url in sent if not url.startswith((own, "about:"))] == []
    live = [url for url in sent if "/v1/live" in url]
    assert len(live) == 1, "the elements share one stream"
    assert unexpected(visitor.page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_a_telephone(visitor: Visitor, pictures: Path, scheme: str) -> None:
    page = visitor.page
    visitor.id = "somebody-with-a-very-long-name-" * 3
    await page.looks(360, 740, scheme)
    await visitor.open()
    await page.shot(pictures / f"telephone-{scheme}.png")
    assert await page.js("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_can_be_read(visitor: Visitor, scheme: str) -> None:
    page = visitor.page
    await page.looks(1100, 800, scheme)
    await visitor.open()
    await visitor.use("DIAGRAM_UPLOAD", 4)
    await visitor.use("STORAGE_BYTES", 90 * 2**20)
    await visitor.use("AI_ANALYSIS", 3)
    await page.until(f"!!{USAGE}.querySelector('{DIALOG}')")
    await page.js("document.querySelector('#meters [data-name=EXPORT_PDF]').click()")
    await page.until("!!document.querySelector('#log .bad')")
    await page.until(STILL)
    found = await page.js(CONTRAST.read_text())
    assert len(found) >= 80
    assert [one for one in found if one[0] < 4.5] == []


async def test_nothing_moves_for_who_asked_for_that(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.open()
    calm = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    await page.do("Emulation.setEmulatedMedia", features=calm)
    await page.js("window.moved = 0")
    for event in ("animationstart", "transitionstart"):
        await page.js(f"{USAGE}.addEventListener('{event}', () => {{ window.moved += 1; }})")
    await visitor.use("DIAGRAM_UPLOAD", 4)
    await page.until(f"!!{USAGE}.querySelector('{TOAST}')")
    await visitor.use("AI_ANALYSIS", 3)
    await page.until(f"!!{USAGE}.querySelector('{DIALOG}')")
    assert await page.js("window.moved") == 0


async def test_hostile_text_stays_text(visitor: Visitor) -> None:
    page = visitor.page
    visitor.id = HOSTILE
    await visitor.open()
    assert await page.js("document.querySelector('#who bdi').textContent") == HOSTILE
    meter = {
        "used": 3,
        "reserved": 0,
        "limit": 3,
        "remaining": 0,
        "percentage": 100,
        "unlimited": False,
        "warning": 100,
    }
    step = {"step": HOSTILE, "status": HOSTILE, "completedAt": None}
    usage = {
        "plan": HOSTILE,
        "period": {"end": "2026-12-01T00:00:00Z"},
        "meters": {HOSTILE: meter | {"resetsAt": None}},
    }
    progress = {
        HOSTILE: True,
        "completionPercentage": 1,
        "status": {"steps": [step], "percentage": 1, "currentStep": HOSTILE},
    }
    upgrade = {"plan": HOSTILE, "url": "javascript:window.hit=1", "message": HOSTILE}
    await page.js(
        "(() => {"
        "const [list, features] = document.querySelectorAll('milepost-checklist');"
        "const usage = document.querySelector('milepost-usage');"
        f"usage.get = async () => ({{upgrade: {json.dumps(upgrade)}}});"
        f"for (const one of [list, features, usage]) {{ one.labels = {{WELCOME: {json.dumps(HOSTILE)}}};"
        f" one.setAttribute('heading', {json.dumps(HOSTILE)}); one.event('onboarding', {json.dumps(progress)}, 'x');"
        f" one.event('usage', {json.dumps(usage)}, 'x'); }} }})()"
    )
    await page.until(f"!!{USAGE}.querySelector('{DIALOG}')")
    found = await page.js(f"{EACH}.map((one) => one.shadowRoot.innerHTML).join('')")
    assert found.count("&lt;img src=x") >= 6
    tags = f"{EACH}.flatMap((one) => [...one.shadowRoot.querySelectorAll('img, script')]).length"
    assert await page.js(tags) == 0
    assert await page.js(f"{USAGE}.querySelectorAll('dialog a').length") == 0
    assert await page.js("window.hit") is None


async def test_other_pages_embed_them(visitor: Visitor) -> None:
    page = visitor.page
    async with shop(EMBEDDING, str(visitor.service.client.make_url("/"))) as (address, _):
        await page.do("Page.navigate", url=address)
        await page.until("customElements.get('milepost-usage')")
        await visitor.shows("Nobody is signed in")
        tokens = json.dumps([visitor.service.token(visitor.id, exp=1), visitor.token])
        # The first token is too old: the page is asked for another one.
        await page.js(ASKED % tokens)
        await visitor.shows("Up to date")
        await visitor.shows("Up to date", STEPS)
        assert await page.js("window.asked") == 2
        await visitor.use("DIAGRAM_UPLOAD")
        await visitor.shows("1 of 5")
        # Taken out of the page, they listen no more.
        await page.js(f"{EACH}.forEach((one) => one.remove())")
        async with asyncio.timeout(60):
            while await _listening(visitor.service):  # noqa: ASYNC110 - the API tells by a figure
                await asyncio.sleep(0.05)


async def test_a_stream_that_breaks_comes_back_with_what_was_missed(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.open()
    await visitor.shows("Up to date")
    # As a network does it: the server's end of every stream goes away.
    for one in list(audience(visitor.service)._listeners):
        one.end("gone")
    await visitor.use("DIAGRAM_UPLOAD", 2)
    await visitor.shows("2 of 5")
    await visitor.shows("Up to date")
    asked = [one["params"]["request"] for one in page.events if one["method"] == "Network.requestWillBeSent"]
    asked = [one for one in asked if "/v1/live" in one["url"]]
    assert ["Last-Event-ID" in one["headers"] for one in asked] == [False, True]


async def _listening(service: Service) -> bool:
    text = (await service.get("/metrics", by=None)).body.decode()
    figures = [line.split()[-1] for line in text.splitlines() if line.startswith("milepost_live_connections")]
    return any(float(one) > 0 for one in figures)
