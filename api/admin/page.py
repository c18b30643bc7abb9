"""The dashboard at `/admin/`: one page, from files of ours. It holds nothing secret: the API asks for the key."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Final

from aiohttp import web

from api import assets

PATH: Final = Path(__file__).with_name("files")
_NAMES: Final = {one.name.removesuffix(".gz") for one in PATH.iterdir()}
FILES: Final = tuple(sorted(name for name in _NAMES if Path(name).suffix in assets.TYPES))
_FOLDER: Final = assets.Folder(PATH, FILES, assets.ASK_FIRST)
_PRELOAD: Final = '<link rel="modulepreload" href="files/{}">'
PAGE: Final = Template((PATH / "page.html").read_text(encoding="utf-8")).substitute(
    modules="\n".join(_PRELOAD.format(name) for name in FILES if name.endswith(".js"))
)


async def page(_: web.Request) -> web.Response:
    """GET /admin/."""
    return assets.page(PAGE, policy=assets.TRUSTED)


async def without_slash(_: web.Request) -> web.Response:
    """GET /admin: the page's files are named relative to /admin/, also where a proxy puts the API below a path."""
    raise web.HTTPFound("admin/")


async def file(request: web.Request) -> web.Response:
    """GET /admin/files/{file}."""
    return _FOLDER.answer(request)


ROUTES: Final = (
    web.get("/admin", without_slash),
    web.get("/admin/", page),
    web.get("/admin/files/{file}", file),
)
