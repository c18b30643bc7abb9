"""Server-sent events: their form, and an answer that stays open."""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

HEADERS: Final = {
    hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
    hdrs.CACHE_CONTROL: "no-store",
    "X-Accel-Buffering": "no",
}
"""Nothing between us and the browser may keep events back: neither a cache nor the buffer of a proxy."""
HEARTBEAT: Final = b":\n\n"
"""A comment, which no client shows: proxies and we ourselves learn of a connection that is gone."""


class EventStream(web.StreamResponse):
    """200 with an open end. Its time is the one that it took to open: how long somebody listens says nothing of us."""

    def __init__(self, headers: dict[str, str] | None = None) -> None:
        super().__init__(headers=HEADERS | (headers or {}))
        self.opened = 0.0
        """When it was opened, by the clock of api/app.py: monotonic, and read anew."""


def event(name: str, body: bytes) -> bytes:
    """One event without its end: lines may follow, like that of `last_id`."""
    return b"event: %b\n%b\n" % (name.encode(), b"\n".join(b"data: " + line for line in body.splitlines() or [b""]))


def last_id(text: str) -> bytes:
    """The line that a client comes back with, as Last-Event-ID, and the end of the event."""
    return b"id: %b\n\n" % text.encode()


def retry(milliseconds: int) -> bytes:
    """When a client that lost the connection tries again."""
    return b"retry: %d\n\n" % milliseconds
