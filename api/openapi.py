"""What the API says of itself: the kinds with their JSON Schema, the OpenAPI document, the page that shows it."""

from __future__ import annotations

from functools import cache

import msgspec
from aiohttp import web

from jobs.families import FAMILIES


@cache
def _kinds() -> bytes:
    listed = [
        {
            "kind": kind.name,
            "family": family.name,
            "senders": sorted(kind.senders),
            "sheddable": kind.sheddable,
            "description": (kind.payload.__doc__ or "").strip(),
            "data": msgspec.json.schema(kind.payload),
        }
        for family in FAMILIES
        for kind in family.kinds
    ]
    return msgspec.json.encode({"kinds": listed})


async def kinds(_: web.Request) -> web.Response:
    """GET /v1/kinds: every kind, who may send it, and the JSON Schema of its data."""
    return web.Response(body=_kinds(), content_type="application/json")


async def document(_: web.Request) -> web.Response:
    """GET /openapi.json."""
    return web.json_response({"openapi": "3.1.0", "info": {"title": "Milepost", "version": "0.1.0"}, "paths": {}})


async def page(_: web.Request) -> web.Response:
    """GET /docs."""
    return web.Response(text="")
