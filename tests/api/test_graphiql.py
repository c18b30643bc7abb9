"""The GraphiQL page: its files are what they say, it works without anything from elsewhere, and in a real browser."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest
from yarl import URL

from api.graph import graphiql
from tests.api.graph import PATH, Learner
from tests.api.service import Service
from tests.browser import chromium

HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
README = (graphiql.FOLDER / "README.md").read_text()


def test_the_files_are_those_that_were_published() -> None:
    told = dict(re.findall(r"^\| `([\w.-]+)` .* `([0-9a-f]{64})` \|$", README, re.MULTILINE))
    packed = {path.name.removesuffix(".gz"): path for path in graphiql.FOLDER.glob("*.gz")}
    assert told.keys() == packed.keys()
    for name, path in packed.items():
        assert hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest() == told[name], name


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("path", [PATH, "/graphql"])
async def test_a_browser_gets_the_page_and_its_files(service: Service, path: str) -> None:
    answer = await service.get(path, by=None, **HTML)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    text = answer.body.decode()
    assert "<script>" not in text
    assert re.findall(r"https?://", text) == []
    files = re.findall(r'(?:src|href)="((?:\.\./)?graphql/graphiql/[\w.-]+)"', text)
    assert {Path(one).name for one in files} == set(graphiql.FILES)
    for one in files:
        file = await service.get(service.client.make_url(path).join(URL(one)).path, by=None)
        assert (file.status, file.headers["X-Content-Type-Options"]) == (200, "nosniff")
        assert file.headers["Content-Type"].startswith(("text/javascript", "text/css"))
        again = await service.get(f"/graphql/graphiql/{Path(one).name}", by=None, If_None_Match=file.headers["ETag"])
        assert again.status == 304


@pytest.mark.usefixtures("quiet")
async def test_files_packed_or_not_and_no_others(service: Service) -> None:
    path = "/graphql/graphiql/graphiql.min.js"
    async with service.client.get(path, headers={"Accept-Encoding": "gzip"}) as packed:
        assert packed.headers["Content-Encoding"] == "gzip"
        assert int(packed.headers["Content-Length"]) < 400_000
    async with service.client.get(path, headers={"Accept-Encoding": "identity"}) as plain:
        assert "Content-Encoding" not in plain.headers
        assert len(await plain.read()) > 1_000_000
    for name in ("page.html", "README.md", "..%2fgraph.py", "%2e%2e", "graphiql.min.js.gz", "x"):
        assert (await service.get(f"/graphql/graphiql/{name}", by=None)).status == 404, name


@pytest.mark.usefixtures("quiet")
async def test_programs_get_no_page(service: Service) -> None:
    learner = Learner(service)
    for accept in ("*/*", "application/json", "application/json, text/html;q=0.5", "text/html;q=0, */*"):
        answer = await service.get("/graphql?query=%7B__typename%7D", by=learner.by, Accept=accept)
        assert answer.body == {"data": {"__typename": "Query"}}, accept


RESULT = "document.querySelector('.graphiql-response .CodeMirror')?.CodeMirror.getValue() || ''"
RUN = "document.querySelector('.graphiql-execute-button').click()"


async def test_it_works_in_a_browser(service: Service, tmp_path: Path) -> None:
    learner = Learner(service)
    asked = f'query Mine {{ getUserProgressStats(userId: "{learner.id}") {{ success message }} }}'
    async with chromium.browser(chromium.program(), tmp_path) as page:
        for domain in ("Page", "Runtime", "Network"):
            await page.do(f"{domain}.enable")
        await page.do("Page.navigate", url=str(service.client.make_url(PATH)))
        await page.until("!!document.querySelector('.graphiql-query-editor .CodeMirror')")
        await page.js(
            f"document.querySelector('.graphiql-query-editor .CodeMirror').CodeMirror.setValue({json.dumps(asked)})"
        )
        await page.until("document.querySelector('.graphiql-tab-button')?.textContent === 'Mine'")
        await page.js(RUN)
        await page.until(f"({RESULT}).includes('unauthorized')")
        assert await page.js("document.getElementById('who').textContent") == "a key or token is needed"
        await page.js("document.getElementById('token').focus()")
        await page.do("Input.insertText", text=learner.by)
        await page.js(RUN)
        await page.until(f"({RESULT}).includes('Statistics found.')")
        assert await page.js("document.getElementById('who').textContent") == "accepted"
        # The schema arrived without a token: the explorer of the documentation knows it.
        await page.js("document.querySelector('button[aria-label*=\"Documentation\"]').click()")
        await page.until("document.body.textContent.includes('UserProgressStatsResponse')")
        sent = [one["params"]["request"]["url"] for one in page.events if one["method"] == "Network.requestWillBeSent"]
        thrown = [one for one in page.events if one["method"] == "Runtime.exceptionThrown"]
    own = str(service.client.make_url("/"))
    assert [url for url in sent if not url.startswith((own, "data:"))] == []
    assert thrown == []
