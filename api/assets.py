"""Files of ours for browsers: packed and tagged, under a policy that lets nothing from elsewhere in."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import hdrs, web

from api.errors import Problem

TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
SAFE: Final = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TRUSTED: Final = f"{POLICY}; require-trusted-types-for 'script'; trusted-types 'none'"
"""For pages of ours alone: browsers that know trusted types refuse every way from text to HTML or script."""
HOUR: Final = "public, max-age=3600"
ASK_FIRST: Final = "no-cache"
"""A browser keeps the file and asks with its tag: files that name each other are never of two versions."""


class _File(NamedTuple):
    packed: bytes
    tag: str
    type: str


class Folder:
    """The files of these names in a folder, each as it is or packed beforehand as `<name>.gz`; no others."""

    def __init__(self, path: Path, names: Collection[str], keep: str = HOUR) -> None:
        self.path, self.names, self.keep = path, frozenset(names), keep

    @cached_property
    def _files(self) -> dict[str, _File]:
        return {name: _read(self.path, name) for name in self.names}

    def answer(self, request: web.Request, name: str | None = None) -> web.Response:
        """The file of this name, else the one that the route's `{file}` names. Raises Problem 404."""
        if name is None:
            name = request.match_info["file"]
        if name not in self.names:
            raise Problem("not_found", "there is no such file")
        packed, tag, media = self._files[name]
        headers = {**SAFE, hdrs.ETAG: tag, hdrs.CACHE_CONTROL: self.keep, hdrs.VARY: hdrs.ACCEPT_ENCODING}
        if tag in request.headers.get(hdrs.IF_NONE_MATCH, ""):
            return web.Response(status=304, headers=headers)
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower():
            headers[hdrs.CONTENT_ENCODING] = "gzip"
        else:
            packed = gzip.decompress(packed)
        return web.Response(body=packed, content_type=media, charset="utf-8", headers=headers)


def _read(folder: Path, name: str) -> _File:
    packed = folder / f"{name}.gz"
    body = packed.read_bytes() if packed.exists() else gzip.compress((folder / name).read_bytes(), 9, mtime=0)
    return _File(body, f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"', TYPES[Path(name).suffix])


def page(text: str, vary: str | None = None, policy: str = POLICY) -> web.Response:
    """A page of HTML whose scripts and styles are all in files of ours."""
    headers = {**SAFE, "Content-Security-Policy": policy, hdrs.CACHE_CONTROL: "no-cache"}
    if vary is not None:
        headers[hdrs.VARY] = vary
    return web.Response(text=text, content_type="text/html", headers=headers)
