"""Compressed bodies: the codings gzip and deflate of RFC 9110, bounded in what they may become."""

from __future__ import annotations

import asyncio
import zlib
from typing import Final

from aiohttp import hdrs, web

from api.errors import Problem

MEMBERS: Final = 16
"""Gzip members of one body: each costs a copy of what follows it."""
THREAD_BYTES: Final = 64 * 1024
"""Larger ones are inflated beside the event loop."""
_WINDOW: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_ACCEPTED: Final[dict[str, str]] = {hdrs.ACCEPT_ENCODING: "gzip, deflate"}


async def inflated(request: web.Request, content: bytes) -> bytes:
    """The body without its Content-Encoding. Raises Problem: 400 broken, 413 too large, 415 another coding."""
    coding = request.headers.get(hdrs.CONTENT_ENCODING)
    if coding is None:
        return content
    coding = coding.strip().lower()
    if coding in {"", "identity"} or not content:
        return content
    if coding not in _WINDOW:
        raise Problem("unsupported_media_type", "send gzip, deflate, or no Content-Encoding", headers=_ACCEPTED)
    limit = request.client_max_size
    if len(content) > THREAD_BYTES:
        return await asyncio.to_thread(inflate, content, coding, limit)
    return inflate(content, coding, limit)


def inflate(content: bytes, coding: str, limit: int) -> bytes:
    """All members of `content`, `limit` bytes at most: a bomb never takes more memory than that."""
    window = _WINDOW[coding]
    if coding == "deflate" and content[0] & 0xF != 8:
        window = -15  # many clients leave the zlib header out
    pieces: list[bytes] = []
    left = limit
    for _ in range(MEMBERS):
        member = zlib.decompressobj(window)
        try:
            pieces.append(member.decompress(content, left + 1))
        except zlib.error:
            raise Problem("malformed", f"the body is no {coding}") from None
        left -= len(pieces[-1])
        if left < 0:
            raise Problem("too_large", f"the body is larger than {limit} bytes when it is unpacked")
        if not member.eof:
            raise Problem("malformed", f"the {coding} body breaks off")
        content = member.unused_data
        if not content:
            return b"".join(pieces)
    raise Problem("malformed", f"the {coding} body has more than {MEMBERS} members")
