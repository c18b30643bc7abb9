"""milepost.js in a real browser: what a visitor does becomes rows, nothing else does, and nothing of it is lost."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from tests.api.service import Service
from tests.browser.chromium import Page
from tests.browser.pages import SHOP, shop

PATIENCE = 60.0
GATE = ' data-url="/gate/"'
SECRET = "hunter2 is my word"


async def rows(service: Service, query: str, wanted: int, *values: Any) -> list[dict[str, Any]]:
    """So many rows, as soon as they are there."""
    async with asyncio.timeout(PATIENCE):
        while len(found := await service.sql.fetch(query, *values)) < wanted:  # noqa: ASYNC110 - rows have no event
            await asyncio.sleep(0.05)
    return [dict(row) for row in found]


async def interactions(service: Service, session: str, wanted: int) -> list[tuple[Any, ...]]:
    """(type, category, element, value, previous) in their order."""
    query = (
        "SELECT event_type, category, element_id, selection_value, previous_value FROM interaction_events "
        "WHERE session_id = $1 ORDER BY at, received_at"
    )
    return [tuple(row.values()) for row in await rows(service, query, wanted, session)]


def home(service: Service) -> str:
    """Where Milepost is."""
    return str(service.client.make_url("/"))


async def click(page: Page, element: str) -> None:
    """With the mouse, in the middle of an element."""
    place = f"document.getElementById({json.dumps(element)})"
    await page.js(f"{place}.scrollIntoView({{block: 'center'}})")
    x, y = await page.js(
        f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({place}.getBoundingClientRect())"
    )
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        await page.do("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


async def visit(page: Page, address: str) -> None:
    """Open an address, and wait for the snippet."""
    await page.do("Page.navigate", url=address)
    await page.until("document.readyState === 'complete' && 'track' in (window.milepost ?? {})")


async def visitor(service: Service, page: Page, address: str) -> str:
    """The session of a visitor who has opened the page."""
    await visit(page, address)
    return str(await page.js("milepost.sessionId"))


async def kept(service: Service, session: str) -> str:
    """All that Milepost holds of a session, as text."""
    tables = ("interaction_events", "tracked_events", "performance_metrics", "configuration_snapshots", "user_sessions")
    found = [
        await service.sql.fetch(f"SELECT t::text FROM {table} t WHERE session_id = $1", session) for table in tables
    ]
    return str(found)


@pytest.fixture
async def key(service: Service) -> str:
    """A browser's key: it sends, and does nothing else."""
    return await service.make_key("ingest")


async def test_a_visit_becomes_rows(service: Service, page: Page, key: str) -> None:
    async with shop(SHOP, url=home(service), key=key) as (address, _):
        session = await visitor(service, page, f"{address}first?mail=ada@example.com")
        await click(page, "plain")
        await click(page, "oak")
        await click(page, "pine")
        await click(page, "high")
        await page.js("document.getElementById('height').focus()")
        await page.key("ArrowDown", 40)
        for written in ("password", "note"):
            await click(page, written)
            await page.do("Input.insertText", text=SECRET)
        await click(page, "private")
        await click(page, "off")
        await page.js("milepost.track('coupon_used', {code: 'AUTUMN'})")
        await page.js("milepost.identify('ada', {newsletter: true})")
        await page.js("milepost.saveConfig({frame: 'pine'}, 'auto_save', {totalPrice: 99, completionPercentage: 40})")
        await click(page, "on")  # leaves the page
        await page.until("location.pathname === '/second' && document.readyState === 'complete'")

        found = await interactions(service, session, 7)
        done = [one for one in found if one[0] not in {"scroll", "hover"}]
        assert done == [
            ("click", "frame", "frame-plain", None, None),
            ("selection", "frame", "oak", "oak", None),
            ("selection", "frame", "pine", "pine", "oak"),
            ("selection", "size", "high", "high", "low"),
            ("selection", "size", "height", "80", "75"),
            ("selection", "page", "note", None, None),
            ("click", "leave", "on", None, None),
        ]
        assert ("hover", "frame", "frame-plain", None, None) in found
        scrolls = [one[3] for one in found if one[0] == "scroll"]
        assert scrolls == sorted(set(scrolls), key=int)

        tracked = await rows(service, "SELECT * FROM tracked_events WHERE session_id = $1 ORDER BY at", 3, session)
        assert [one["event"] for one in tracked[:2]] == ["/first", "coupon_used"]
        assert "user.identified" in {one["kind"] for one in tracked}
        query = "SELECT metric_name, value, additional_data FROM performance_metrics WHERE session_id = $1"
        measured = {one["metric_name"]: one for one in await rows(service, query, 5, session)}
        assert {"TTFB", "load", "DOMContentLoaded", "CLS", "LCP"} <= measured.keys()
        assert json.loads(measured["TTFB"]["additional_data"])["path"] in {"/first", "/second"}
        assert all(one["value"] >= 0 for one in measured.values())
        state = (
            await rows(service, "SELECT * FROM user_sessions WHERE session_id = $1 AND user_id = 'ada'", 1, session)
        )[0]
        assert state["interactions"] >= 7
        (snapshot,) = await rows(service, "SELECT * FROM configuration_snapshots WHERE session_id = $1", 1, session)
        assert (snapshot["trigger_event"], float(snapshot["total_price"])) == ("auto_save", 99.0)
        text = await kept(service, session)
        assert "AUTUMN" in text
        assert [one for one in (SECRET, "secret", "example.com") if one in text] == []


async def test_the_last_click_of_who_goes_elsewhere_arrives(service: Service, page: Page, key: str) -> None:
    async with shop(SHOP, url=home(service), key=key) as (address, _):
        session = await visitor(service, page, f"{address}first")
        await click(page, "plain")
        await page.do("Page.navigate", url="about:blank")
        found = [one for one in await interactions(service, session, 2) if one[0] == "click"]
        assert found == [("click", "frame", "frame-plain", None, None)]
        query = "SELECT metric_name FROM performance_metrics WHERE session_id = $1 AND metric_name IN ('LCP', 'CLS')"
        assert {one["metric_name"] for one in await rows(service, query, 2, session)} == {"LCP", "CLS"}


async def test_what_went_twice_counts_once(service: Service, page: Page, key: str) -> None:
    async with shop(SHOP, url=home(service), key=key, more=GATE) as (address, gate):
        session = await visitor(service, page, f"{address}first")
        await click(page, "plain")
        await click(page, "on")
        await page.until("location.pathname === '/second' && 'track' in (window.milepost ?? {})")
        # The beacon of the first page, and once more the second page: whether it arrived nobody has told.
        async with asyncio.timeout(PATIENCE):
            while sum('"frame-plain"' in one and '"click"' in one for one in gate.bodies) < 2:
                await page.js("milepost.track('seen'); milepost.flush()")
        await rows(service, "SELECT 1 FROM tracked_events WHERE session_id = $1 AND event = 'seen'", 1, session)
        found = [one[2] for one in await interactions(service, session, 2) if one[0] == "click"]
        assert found == ["frame-plain", "on"]


async def test_thirty_idle_minutes_begin_another_session(service: Service, page: Page, key: str) -> None:
    held = json.dumps({"id": "old", "seen": time.time() * 1000 - 31 * 60_000, "user": "ada"})
    await page.do("Page.addScriptToEvaluateOnNewDocument", source=f"sessionStorage['milepost.session'] = {held!r}")
    async with shop(SHOP, url=home(service), key=key) as (address, _):
        session = await visitor(service, page, f"{address}first")
        assert session != "old"
        await page.js("milepost.flush()")
        (row,) = await rows(service, "SELECT user_id FROM tracked_events WHERE session_id = $1", 1, session)
        assert row["user_id"] == "ada"


async def test_what_did_not_arrive_is_sent_by_the_next_page_and_counts_once(
    service: Service, page: Page, key: str
) -> None:
    async with shop(SHOP, url=home(service), key=key, more=GATE) as (address, gate):
        session = await visitor(service, page, f"{address}first")
        gate.is_open = False
        await click(page, "plain")
        await click(page, "on")
        await page.until("location.pathname === '/second' && 'track' in (window.milepost ?? {})")
        assert await page.js("milepost.sessionId") == session
        assert await interactions(service, session, 0) == []
        assert 503 in gate.answers
        gate.is_open = True
        found = [one[2] for one in await interactions(service, session, 2) if one[0] == "click"]
        assert found == ["frame-plain", "on"]
        # The next exit sends nothing of it again that counts.
        await visit(page, f"{address}third")
        await rows(service, "SELECT 1 FROM tracked_events WHERE session_id = $1 AND event = '/second'", 1, session)
        found = [one[2] for one in await interactions(service, session, 2) if one[0] == "click"]
        assert found == ["frame-plain", "on"]


@pytest.mark.parametrize("signal", ["globalPrivacyControl", "doNotTrack"])
async def test_who_does_not_want_it_is_not_recorded(service: Service, page: Page, key: str, signal: str) -> None:
    value = "true" if signal == "globalPrivacyControl" else "'1'"
    source = f"Object.defineProperty(Navigator.prototype, {signal!r}, {{get: () => {value}}})"
    await page.do("Page.addScriptToEvaluateOnNewDocument", source=source)
    async with shop(SHOP, url=home(service), key=key, more=GATE) as (address, gate):
        await visit(page, f"{address}first")
        for element in ("plain", "oak", "high"):
            await click(page, element)
        await page.js("milepost.track('x'); milepost.identify('ada'); milepost.flush()")
        assert await page.js("milepost.sessionId") is None
        await visit(page, f"{address}second")
        assert await page.js("[sessionStorage.length, localStorage.length, document.cookie]") == [0, 0, ""]
        assert gate.bodies == []


async def test_a_key_that_is_revoked_ends_it(service: Service, page: Page) -> None:
    async with shop(SHOP, url=home(service), key="mp_nobody", more=GATE) as (address, gate):
        await visit(page, f"{address}first")
        await page.js("milepost.flush()")
        async with asyncio.timeout(PATIENCE):
            while not gate.answers:  # noqa: ASYNC110 - the site's own server has no event for us
                await asyncio.sleep(0.05)
        assert gate.answers == [401]
        for _ in range(3):
            await click(page, "plain")
        await page.js("milepost.flush()")
        await page.do("Page.navigate", url="about:blank")
        assert gate.answers == [401]


async def test_a_page_whose_milepost_is_away_goes_on(service: Service, page: Page, key: str) -> None:
    async with shop(SHOP, url="http://127.0.0.1:9/", key=key) as (address, _):
        await page.do("Page.navigate", url=f"{address}first")
        await page.until("document.readyState === 'complete'")
        await click(page, "plain")
    assert [one for one in page.events if one["method"] == "Runtime.exceptionThrown"] == []


async def test_calls_before_it_has_arrived(service: Service, page: Page, key: str) -> None:
    early = SHOP.replace("<script src", "<script>window.milepost = [['track', 'early', {{}}]]</script><script src")
    async with shop(early, url=home(service), key=key) as (address, _):
        session = await visitor(service, page, f"{address}first")
        await page.js("milepost.flush()")
        found = await rows(service, "SELECT event FROM tracked_events WHERE session_id = $1", 2, session)
        assert {one["event"] for one in found} == {"/first", "early"}
