"""Cross-origin requests of browsers, for the origins that a setting names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiohttp import web

EXPOSED: Final = "Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, ETag, Milepost-Stale"
ALLOWED: Final = "Authorization, Content-Type, Content-Encoding, Prefer, If-None-Match, Idempotency-Key, Last-Event-ID"


class Cors:
    """Headers for allowed origins; nothing for others, which is how a browser learns of it."""

    def __init__(self, origins: Sequence[str]) -> None:
        self.any = "*" in origins
        self.origins = frozenset(origins)

    def _origin(self, request: web.Request) -> str | None:
        origin = request.headers.get("Origin") if self.origins else None
        return origin if origin is not None and (self.any or origin in self.origins) else None

    def preflight(self, request: web.Request) -> web.Response | None:
        """The answer to a browser's question whether it may send; None for any other request."""
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return None
        if self._origin(request) is None:
            return None
        return web.Response(
            status=204,
            headers={
                "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
                "Access-Control-Allow-Headers": ALLOWED,
                "Access-Control-Max-Age": "600",
            },
        )

    def allow(self, request: web.Request, response: web.StreamResponse) -> None:
        """On every answer, errors too: else a browser's script sees neither status nor Retry-After."""
        if not self.origins or response.prepared:
            return
        # Beside what the answer depends on already: without it, a cache would give gzip to who cannot read it.
        held = response.headers.get("Vary")
        response.headers["Vary"] = f"{held}, Origin" if held else "Origin"
        origin = self._origin(request)
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED


CORS: Final = web.AppKey("cors", Cors)
"""For answers that begin before their handler ends."""
