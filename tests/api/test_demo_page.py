"""The user's page, the components and the snippet as they are served: what they are, under which policy, to whom."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from yarl import URL

from api.demo import routes
from tests.api.service import Service

PAGE = Path(__file__).parents[2] / "docs" / "browser.md"
OURS = sorted(routes.PATH.iterdir())
SNIPPET = (routes.PATH / routes.SNIPPET).read_text()


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_text_never_becomes_html(path: Path) -> None:
    text = path.read_text()
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|setHTML|srcdoc"
    assert re.findall(rf"{ways}|\beval\(|new Function|document\.cookie|\bimport\(", text) == []
    named = set(re.findall(r"https?://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
    assert {URL(one).host for one in named} <= {"milepost.example"}
    if path.suffix == ".html":
        assert re.findall(r"<style|\bstyle=|\bon\w+=|<script(?![^>]*\bsrc=)", text) == []


def test_tokens_are_kept_nowhere_but_in_the_tab() -> None:
    keeping = {path.name for path in OURS if "localStorage." in path.read_text()}
    assert keeping == {"notices.js"}
    assert "token" not in (routes.PATH / "notices.js").read_text().lower()


def test_every_module_names_files_that_there_are() -> None:
    for path in routes.PATH.glob("*.js"):
        named = re.findall(r'from "\./([\w.]+)"|^import "\./([\w.]+)"', path.read_text(), re.MULTILINE)
        assert {one or other for one, other in named} <= set(routes.FILES), path.name


@pytest.mark.usefixtures("quiet")
async def test_the_page_and_its_files(service: Service) -> None:
    answer = await service.get("/demo/", by=None)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    names = re.findall(r'(?:src|href)="([\w.]+)"', answer.body.decode())
    assert set(names) == set(routes.FILES)
    for name in names:
        file = await service.get(f"/demo/{name}", by=None)
        assert (file.status, file.headers["X-Content-Type-Options"]) == (200, "nosniff")
        assert file.headers["Content-Type"].startswith(("text/javascript", "text/css", "image/svg+xml"))
        again = await service.get(f"/demo/{name}", by=None, If_None_Match=file.headers["ETag"])
        assert (again.status, again.body) == (304, b"")


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("path", ["/milepost.js", "/demo/components.js", "/demo/usage.js"])
async def test_pages_of_any_origin_may_use_them(service: Service, path: str) -> None:
    answer = await service.get(path, by=None, Origin="https://shop.example", Accept_Encoding="gzip")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Set-Cookie" not in answer.headers


@pytest.mark.usefixtures("quiet")
async def test_no_other_files(service: Service) -> None:
    for name in ("page.html", "milepost.js", "..%2froutes.py", "x", "%00"):
        assert (await service.get(f"/demo/{name}", by=None)).status == 404, name
    async with service.client.get("/demo", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "demo/")
    async with service.client.get("/demo/%2e%2e", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "docs"), "no file: the root"


def test_the_sizes_told_are_those_of_the_files() -> None:
    text = PAGE.read_text()
    told = {
        name: float(size)
        for name, size in re.findall(r"^\| `([\w.]+)` \| [\d.]+ KB \| ([\d.]+) KB \|$", text, re.MULTILINE)
    }
    modules = [name for name in routes.FILES if name.endswith(".js") and name != "demo.js"]
    real = {
        "milepost.js": _packed([routes.SNIPPET]),
        "components.js": _packed(modules),
    }
    assert told.keys() == real.keys()
    for name, size in real.items():
        assert abs(told[name] - size / 1000) < 0.15, (name, size)


def _packed(names: list[str]) -> int:
    return sum(len(gzip.compress((routes.PATH / name).read_bytes(), 9, mtime=0)) for name in names)


def test_what_the_page_tells_of_the_snippet_is_in_it() -> None:
    text = PAGE.read_text().split("\n## The snippet\n")[1].split("\n## ")[0]
    for attribute in re.findall(r"`data-milepost-([a-z]+)`", text):
        assert f"data-milepost-{attribute}" in SNIPPET, attribute
    for call in re.findall(r"`milepost\.(\w+)\(", text):
        assert re.search(rf"^    {call}: ", SNIPPET, re.MULTILINE), call
    for name in re.findall(r"`data-([a-z]+)`", text):
        assert re.search(rf"\b{name}\b", SNIPPET), name
    metrics = set(re.findall(r'metric\("(\w+)"', SNIPPET))
    assert metrics == set(re.findall(r"^\| `(\w+)` \| .* \|$", text.split("| metric |")[1], re.MULTILINE))
