"""What a subject used, by day or by meter: `GET /v1/usage/analytics`, as JSON or CSV. Every day and meter has a row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import asyncpg
import msgspec
from aiohttp import hdrs, web

from api import errors, reads, who
from api.state import State
from api.time_range import MOST_DAYS
from api.usage import held, meters, subjects
from db import sql
from jobs.usage import periods
from jobs.usage.quota import rfc3339

QUERIES: Final = sql.read("usage_reports")
DAY: Final = timedelta(days=1)
DEFAULT_DAYS: Final = 30
GROUPS: Final = ("day", "action")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_QUALITY: Final = re.compile(r"\bq\s*=\s*([01](?:\.\d{0,3})?)", re.ASCII)


class Asked(NamedTuple):
    """From `begin`, before `end`, in a time zone; `action`: of one meter, else of all."""

    begin: datetime
    end: datetime
    zone: str
    action: str | None

    @property
    def days(self) -> list[date]:
        """The days of the zone's calendar that the range touches."""
        own = ZoneInfo(self.zone)
        first, last = self.begin.astimezone(own).date(), (self.end - timedelta(microseconds=1)).astimezone(own).date()
        return [first + number * DAY for number in range((last - first).days + 1)]


async def read(request: web.Request) -> web.Response:
    """GET ?from=&to=&groupBy=day|action&tz=&action=: the last 30 days by day, unless said otherwise."""
    state, sender = await who.reader(request)
    subject = subjects.of(request, sender).name
    limits = await state.rates.check(sender, "read", subject)
    group = request.query.get("groupBy", "day")
    if group not in GROUPS:
        raise errors.parameter("groupBy", f"groupBy is one of {', '.join(GROUPS)}")
    asked = _asked(request, await _zone(request, state, subject), meters.of(request, state), state.clock.now())
    reached = await reads.after(request, state)
    days = asked.days
    begins = [periods.begin_of(asked.zone, day) for day in days]
    async with state.pool.acquire() as conn:
        rows = await conn.fetch(
            *(QUERIES["usage_analytics"], subject, asked.begin, asked.end, begins, asked.action),
        )
        since = await conn.fetchval(QUERIES["usage_kept_since"])
    names = _names(state, asked, rows)
    series = by_day(days, names, rows) if group == "day" else by_action(names, rows)
    head = {hdrs.VARY: "Accept", **limits}
    if wants_csv(request.headers.get(hdrs.ACCEPT, "")):
        return reads.answer(request, _csv(series), reached, head, "text/csv; charset=utf-8")
    body = {
        "from": asked.begin,
        "to": asked.end,
        "tz": asked.zone,
        "groupBy": group,
        "keptSince": None if since is None else rfc3339(since),
        "series": series,
        "totals": {one["action"]: one["used"] for one in by_action(names, rows)},
    }
    return reads.answer(request, msgspec.json.encode(body), reached, head)


def by_day(days: Sequence[date], meters: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each day, with every meter."""
    series = [{"day": day.isoformat(), "used": dict.fromkeys(meters, 0), "records": 0} for day in days]
    for row in rows:
        one: Any = series[row["day"]]
        one["used"][row["action"]] += row["used"]
        one["records"] += row["records"]
    return series


def by_action(meters: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each meter."""
    found: dict[str, dict[str, Any]] = {name: {"action": name, "used": 0, "records": 0} for name in meters}
    for row in rows:
        found[row["action"]]["used"] += row["used"]
        found[row["action"]]["records"] += row["records"]
    return list(found.values())


def _names(state: State, asked: Asked, rows: Iterable[asyncpg.Record]) -> list[str]:
    """Those of the catalog, and those that it had when they were used."""
    known = [meter.name for meter in state.catalog.meters if asked.action in {None, meter.name}]
    return [*known, *sorted({row["action"] for row in rows} - set(known))]


def _csv(series: Iterable[dict[str, Any]]) -> bytes:
    """One line for each row; the meters of a day are columns."""
    flat = [{**one, **used, "used": None} if isinstance(used := one["used"], dict) else one for one in series]
    rows = [{name: value for name, value in one.items() if value is not None} for one in flat]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def wants_csv(accept: str) -> bool:
    """Whether an Accept header names text/csv, and prefers it to JSON or likes both the same."""
    weights: dict[str, float] = {}
    for part in accept[:1000].lower().split(","):
        name, _, rest = part.partition(";")
        quality = _QUALITY.search(rest)
        weights[name.strip()] = float(quality[1]) if quality else 1.0
    own = weights.get("text/csv", 0.0)
    return own > 0 and own >= weights.get("application/json", 0.0)


async def _zone(request: web.Request, state: State, subject: str) -> str:
    """The one that is asked for, else the subject's own."""
    given = request.query.get("tz")
    if given is None:
        return await held.ask(state, subject, lambda model, _: model.rules[-1].zone)
    if not periods.is_zone(given):
        raise errors.parameter("tz", "there is no such time zone: name one like Europe/Berlin")
    return given


def _asked(request: web.Request, zone: str, action: str | None, now: datetime) -> Asked:
    """The range. A day stands for its beginning as `from`, for its end as `to`. Raises Problem 400."""
    query = request.query
    end = _moment(query["to"], "to", zone, DAY) if "to" in query else now
    begin = _moment(query["from"], "from", zone) if "from" in query else end - DEFAULT_DAYS * DAY
    if not begin < end <= begin + MOST_DAYS * DAY + timedelta(hours=2):
        raise errors.parameter("from", f"from lies before to, and at most {MOST_DAYS} days")
    return Asked(begin, end, zone, action)


def _moment(text: str, name: str, zone: str, more: timedelta = timedelta()) -> datetime:
    found: datetime | None = None
    try:
        if _DATE.fullmatch(text):
            found = periods.begin_of(zone, date.fromisoformat(text) + more)
        else:
            found = msgspec.convert(text, datetime, strict=False)
    except (msgspec.ValidationError, ValueError, OverflowError):
        pass
    if found is None or found.tzinfo is None or not 1900 <= found.year <= 9000:
        said = f"{name} is a day like 2026-11-21, or a time with its offset like 2026-11-21T08:00:00Z"
        raise errors.parameter(name, said)
    return found.astimezone(UTC)
