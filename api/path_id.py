"""The id of a thing in the path of a route: a UUID of ours, or there is no such thing."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from aiohttp import web

from api.errors import Problem


def read(request: web.Request, name: str, missing: Callable[[], Problem]) -> UUID:
    """The id of this name. Raises what is missing for what is no id of ours."""
    try:
        return UUID(request.match_info[name])
    except ValueError:
        raise missing() from None
