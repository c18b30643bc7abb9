"""The stretch of time that an overview is asked for: `timeRange=24h|7d|30d|90d`, or `from` and `to`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import msgspec
from aiohttp import web

from api import errors

RANGES: Final = {"24h": 1, "7d": 7, "30d": 30, "90d": 90}
"""Name -> days."""
MOST_DAYS: Final = 366


class TimeRange(NamedTuple):
    """From `begin`, before `end`; both aware, UTC."""

    begin: datetime
    end: datetime


def read(request: web.Request, now: datetime, default: str = "30d") -> TimeRange:
    """The range of the query; `now` ends it unless `to` is given. Raises Problem 400 invalid_parameter."""
    query = request.query
    if "from" not in query and "to" not in query:
        name = query.get("timeRange", default)
        if name not in RANGES:
            raise errors.parameter("timeRange", f"timeRange is one of {', '.join(RANGES)}, or give from and to")
        return TimeRange(now - timedelta(days=RANGES[name]), now)
    if "timeRange" in query:
        raise errors.parameter("timeRange", "give timeRange, or from and to, not both")
    begin, end = _time(query.get("from"), "from"), _time(query["to"], "to") if "to" in query else now
    if not begin < end <= begin + timedelta(days=MOST_DAYS):
        raise errors.parameter("from", f"from lies before to, and at most {MOST_DAYS} days")
    return TimeRange(begin, end)


def until(request: web.Request, now: datetime) -> datetime:
    """`to` of the query, else `now`. Raises Problem 400 invalid_parameter."""
    return _time(request.query["to"], "to") if "to" in request.query else now


def _time(text: str | None, name: str) -> datetime:
    try:
        found = msgspec.convert(text, datetime, strict=False)
    except msgspec.ValidationError:
        found = None
    if found is None or found.tzinfo is None or not 1900 <= found.year <= 9000:
        raise errors.parameter(name, f"{name} is a time with its offset, like 2026-11-21T08:00:00Z")
    return found.astimezone(UTC)
