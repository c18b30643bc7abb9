"""JSON answers that nobody may keep. What may be kept has an ETag: api/reads.py."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from aiohttp import hdrs, web


def fresh(body: object, headers: Mapping[str, str] | None = None, status: int = 200) -> web.Response:
    """Anything that msgspec can encode, with `Cache-Control: no-store`."""
    return web.Response(
        body=msgspec.json.encode(body),
        status=status,
        content_type="application/json",
        headers={hdrs.CACHE_CONTROL: "no-store", **(headers or {})},
    )
