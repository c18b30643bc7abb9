"""The page of one user at `/demo/`, its components, and the snippet: nothing secret, and other pages embed them."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Final

from aiohttp import hdrs, web

from api import assets

PATH: Final = Path(__file__).with_name("files")
SNIPPET: Final = "milepost.js"
FILES: Final = tuple(sorted({one.name for one in PATH.iterdir() if one.suffix in assets.TYPES} - {SNIPPET}))
_FOLDER: Final = assets.Folder(PATH, FILES, assets.ASK_FIRST)
_SNIPPET: Final = assets.Folder(PATH, [SNIPPET])
_MODULES: Final = ("checklist.js", "components.js", "element.js", "live.js", "notices.js", "usage.js")
PAGE: Final = Template((PATH / "page.html").read_text(encoding="utf-8")).substitute(
    modules="\n".join(f'<link rel="modulepreload" href="{name}">' for name in _MODULES)
)
_ANYWHERE: Final = {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: "*", "Cross-Origin-Resource-Policy": "cross-origin"}
"""Modules of other origins need the first, pages that isolate themselves the second."""


async def page(_: web.Request) -> web.Response:
    """GET /demo/."""
    return assets.page(PAGE, policy=assets.TRUSTED)


async def without_slash(_: web.Request) -> web.Response:
    """GET /demo: the page's files are named relative to /demo/, also where a proxy puts the API below a path."""
    raise web.HTTPFound("demo/")


async def file(request: web.Request) -> web.Response:
    """GET /demo/{file}."""
    return _for_anybody(_FOLDER.answer(request))


async def snippet(request: web.Request) -> web.Response:
    """GET /milepost.js."""
    return _for_anybody(_SNIPPET.answer(request, SNIPPET))


def _for_anybody(response: web.Response) -> web.Response:
    response.headers.update(_ANYWHERE)
    return response


ROUTES: Final = (
    web.get("/demo", without_slash),
    web.get("/demo/", page),
    web.get("/demo/{file}", file),
    web.get("/milepost.js", snippet),
)
