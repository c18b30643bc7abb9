"""The dashboard's page: its files are what they say, under a strict policy, and none of them makes HTML of text."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest
from yarl import URL

from api.admin import page
from tests.api.service import Service

README = (page.PATH / "README.md").read_text()
OURS = sorted(path for path in page.PATH.iterdir() if path.suffix in {".js", ".css", ".html", ".svg"})


def test_the_library_is_the_one_that_was_published() -> None:
    told = dict(re.findall(r"^\| `([\w.-]+)` .* `([0-9a-f]{64})` \|$", README, re.MULTILINE))
    packed = {path.name.removesuffix(".gz"): path for path in page.PATH.glob("*.gz")}
    assert told.keys() == packed.keys()
    for name, path in packed.items():
        assert hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest() == told[name], name
    wanted = json.loads((page.PATH / "package.json").read_text())["dependencies"]
    locked = json.loads((page.PATH / "package-lock.json").read_text())["packages"]["node_modules/uplot"]
    assert f"| uplot | {wanted['uplot']} | MIT |" in README
    assert locked["version"] == wanted["uplot"]
    assert "resolved" not in locked
    assert "Permission is hereby granted" in (page.PATH / "LICENSE-uplot.txt").read_text()


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_text_never_becomes_html(path: Path) -> None:
    text = path.read_text()
    if path.name == "dom.js":
        text = re.sub(r"^const TAKEN = .*$", "", text, flags=re.MULTILINE)
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|setHTML|srcdoc"
    assert re.findall(rf"{ways}|\beval\(|new Function|localStorage\.|document\.cookie|import\(", text) == []
    assert re.findall(r"""(?:src|href)\s*=\s*["']\s*(?:https?:|//|javascript:)""", text) == []
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    if path.suffix == ".html":
        assert re.findall(r"<style|\bstyle=|\bon\w+=|<script(?![^>]*\bsrc=)", text) == []


def test_every_module_names_files_that_there_are() -> None:
    for path in page.PATH.glob("*.js"):
        assert set(re.findall(r'from "\./([\w.]+)"', path.read_text())) <= set(page.FILES), path.name


@pytest.mark.usefixtures("quiet")
async def test_the_page_and_its_files(service: Service) -> None:
    answer = await service.get("/admin/", by=None)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:")
    assert "connect-src 'self'" in policy
    assert policy.endswith("require-trusted-types-for 'script'; trusted-types 'none'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    names = re.findall(r'(?:src|href)="(files/[\w.]+)"', answer.body.decode())
    assert {Path(one).name for one in names} == set(page.FILES)
    for one in names:
        file = await service.get(service.client.make_url("/admin/").join(URL(one)).path, by=None)
        assert (file.status, file.headers["X-Content-Type-Options"]) == (200, "nosniff")
        assert file.headers["Content-Type"].startswith(("text/javascript", "text/css", "image/svg+xml"))
        assert file.headers["Cache-Control"] == "no-cache"
        again = await service.get(f"/admin/{one}", by=None, If_None_Match=file.headers["ETag"])
        assert (again.status, again.body) == (304, b"")


@pytest.mark.usefixtures("quiet")
async def test_files_packed_or_not_and_no_others(service: Service) -> None:
    path = "/admin/files/uPlot.esm.js"
    async with service.client.get(path, headers={"Accept-Encoding": "gzip"}) as packed:
        assert packed.headers["Content-Encoding"] == "gzip"
        assert int(packed.headers["Content-Length"]) < 50_000
    async with service.client.get(path, headers={"Accept-Encoding": "identity"}) as plain:
        assert "Content-Encoding" not in plain.headers
        assert len(await plain.read()) > 140_000
    for name in ("page.html", "README.md", "package.json", "..%2fpage.py", "uPlot.esm.js.gz", "x", "%00"):
        assert (await service.get(f"/admin/files/{name}", by=None)).status == 404, name


async def test_below_a_path_the_redirect_stays_there(service: Service) -> None:
    async with service.client.get("/admin", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "admin/")
    async with service.client.get("/", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "docs")


def _tokens(text: str) -> dict[str, str]:
    """The colours of a rule."""
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", text))
    return {
        name: value if len(value) == 7 else "#" + "".join(2 * one for one in value[1:]) for name, value in found.items()
    }


def _luminance(colour: str) -> float:
    """As WCAG 2.2 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _mixed(one: str, other: str, share: float) -> str:
    pairs = [(int(one[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in pairs)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(scheme: str) -> None:
    light, dark = (page.PATH / "tokens.css").read_text().split("@media (prefers-color-scheme: dark)")
    colours = _tokens(light) if scheme == "light" else _tokens(light) | _tokens(dark.split("\n}\n")[0])
    texts = [
        (text, ground) for text in ("text", "muted", "accent", "bad") for ground in ("ground", "surface", "sunken")
    ]
    texts += [("on-accent", "accent"), ("accent", "accent-soft"), ("text", "accent-soft"), ("good", "surface")]
    texts += [(name, f"{name}-soft") for name in ("good", "warn", "bad")]
    for text, ground in texts:
        assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    hottest = _mixed(colours["accent"], colours["sunken"], 0.42)
    assert _contrast(colours["text"], hottest) >= 4.5
    for shape in ("line-strong", "bar", "series-1", "series-2", "series-3"):
        assert _contrast(colours[shape], colours["surface"]) >= (3 if shape != "bar" else 2.2), shape
