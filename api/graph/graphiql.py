"""GraphiQL for browsers, from files of ours: nothing comes from elsewhere, and nothing but these scripts runs."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path
from string import Template
from typing import Final, NamedTuple

from aiohttp import hdrs, web

from api.errors import Problem
from api.state import STATE

FOLDER: Final = Path(__file__).with_name("graphiql_files")
TYPES: Final = {".js": "text/javascript", ".css": "text/css"}
FILES: Final = (
    *("explorer.css", "explorer.js", "graphiql.min.css", "graphiql.min.js"),
    *("react.production.min.js", "react-dom.production.min.js"),
)
_SAFE: Final = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_PAGE: Final = Template((FOLDER / "page.html").read_text(encoding="utf-8"))
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class _File(NamedTuple):
    packed: bytes
    tag: str
    type: str


@cache
def _file(name: str) -> _File:
    packed = FOLDER / f"{name}.gz"
    body = packed.read_bytes() if packed.exists() else gzip.compress((FOLDER / name).read_bytes(), 9, mtime=0)
    return _File(body, f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"', TYPES[Path(name).suffix])


def page(request: web.Request) -> web.Response:
    """The page; its files are named relative to it, so that a proxy may put the API below a path."""
    files = "../graphql/graphiql" if request.path.endswith("/userProgress/graphql") else "graphql/graphiql"
    headers = {**_SAFE, "Content-Security-Policy": _POLICY, hdrs.CACHE_CONTROL: "no-cache", hdrs.VARY: "Accept"}
    return web.Response(text=_PAGE.substitute(files=files), content_type="text/html", headers=headers)


async def file(request: web.Request) -> web.Response:
    """GET /graphql/graphiql/{file}."""
    name = request.match_info["file"]
    if name not in FILES or not request.app[STATE].settings.introspects:
        raise Problem("not_found", "there is no such file")
    packed, tag, media = _file(name)
    headers = {**_SAFE, hdrs.ETAG: tag, hdrs.CACHE_CONTROL: "public, max-age=3600", hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if tag in request.headers.get(hdrs.IF_NONE_MATCH, ""):
        return web.Response(status=304, headers=headers)
    if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower():
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    else:
        packed = gzip.decompress(packed)
    return web.Response(body=packed, content_type=media, charset="utf-8", headers=headers)
