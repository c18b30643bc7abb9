"""An answer in JSON whose head and body go out in one write: aiohttp's own headers take a sixth of a request."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE

_heads: Final[dict[int, tuple[int, bytes]]] = {}
"""Status -> the second it was made in, and all of the head up to the length of the body."""


def answer(
    request: web.Request, body: bytes, status: int, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """As bytes, when nothing is out of the ordinary; else an answer of aiohttp's, which says the same."""
    if not headers and request.keep_alive and request.version == HttpVersion11:
        return OneWrite(body, status)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


class OneWrite(web.StreamResponse):
    """On a connection that is kept, for HTTP/1.1. It has no headers until `ordinary` is asked for."""

    _keep_alive = True

    def __init__(self, body: bytes, status: int) -> None:
        # Not super().__init__(): its headers are what is left out.
        self._json, self._status = body, status

    def ordinary(self) -> web.Response:
        """The same as an answer of aiohttp's, to which headers can be added."""
        return web.Response(body=self._json, status=self._status, content_type="application/json")

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Nothing is sent yet."""
        self._writer = request.writer
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        """All of it; waits while the client reads nothing."""
        await self._writer.write(b"%b%d\r\n\r\n%b" % (_head(self._status), len(self._json), self._json))
        await self._writer.drain()


def _head(status: int) -> bytes:
    now = int(time.time())
    made, head = _heads.get(status, (0, b""))
    if made != now:
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
            f"Date: {formatdate(now, usegmt=True)}\r\nServer: {SERVER_SOFTWARE}\r\nContent-Length: "
        ).encode()
        _heads[status] = now, head
    return head
