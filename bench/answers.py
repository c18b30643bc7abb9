"""`python -m bench.answers`: how long every answer takes, through HTTP, one request after the other; in ms."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import aiohttp
import asyncpg
import yarl

from jobs.bar import Bar

RANGES: Final = (1, 7, 30, 90)
"""Days."""
TIMES: Final = 12
BASE: Final = "/api/admin/analytics"


@dataclass(frozen=True, slots=True)
class Known:
    """What requests ask for: drawn from what is there."""

    sessions: Sequence[str]
    long_session: str
    users: Sequence[str]
    effects: Sequence[str]
    letters: Sequence[str]
    destinations: Sequence[str]
    now: datetime


@dataclass(slots=True)
class Answer:
    """One answer: how its path is drawn; `ranges` of days that it is asked for."""

    name: str
    path: Callable[[random.Random, Known], str]
    ranges: Sequence[int] = ()
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """Range -> how long each request took, in order."""


def _plain(name: str, path: str) -> Answer:
    return Answer(name, lambda _draw, _known: path)


def _ranged(name: str, path: str) -> Answer:
    return Answer(name, lambda _draw, _known: path, RANGES)


def answers() -> list[Answer]:
    """Every read that an operator's page or a script makes of more than one subject, and some of one."""
    return [
        _ranged("overview", f"{BASE}/overview"),
        _ranged("conversion-funnel", f"{BASE}/conversion-funnel"),
        _ranged("conversion-funnel, another", f"{BASE}/conversion-funnel?funnel=reading"),
        _plain("popular-configs", f"{BASE}/popular-configs"),
        _plain("popular-configs, 100", f"{BASE}/popular-configs?limit=100"),
        Answer("user-journey", lambda d, k: f"{BASE}/user-journey?sessionId={_quoted(d.choice(k.sessions))}"),
        Answer("user-journey of 5,500", lambda d, k: f"{BASE}/user-journey?sessionId={_quoted(k.long_session)}"),
        _ranged("performance, the API's", f"{BASE}/performance"),
        _ranged("performance, a page's", f"{BASE}/performance?metric=page_load_time"),
        _plain("retention", f"{BASE}/retention"),
        _plain("retention, 52 weeks", f"{BASE}/retention?weeks=52"),
        _ranged("paths", f"{BASE}/paths"),
        _plain("real-time", f"{BASE}/real-time"),
        _ranged("sessions", "/api/admin/analytics/sessions"),
        _plain("courses", "/api/admin/analytics/courses"),
        _plain("pipe", "/api/admin/pipe"),
        _plain("usage overview", "/v1/admin/usage/overview"),
        _plain("usage top", "/v1/admin/usage/top?action=DIAGRAM_UPLOAD"),
        _plain("usage top, a gauge", "/v1/admin/usage/top?action=STORAGE_BYTES"),
        _plain("usage near-limit", "/v1/admin/usage/near-limit"),
        _plain("usage near-limit, one meter", "/v1/admin/usage/near-limit?action=AI_ANALYSIS"),
        Answer("usage of a subject", lambda d, k: f"/v1/usage/analytics?userId={d.choice(k.users)}"),
        Answer("current usage", lambda d, k: f"/v1/usage/current?userId={d.choice(k.users)}"),
        Answer("a subject", lambda d, k: f"/v1/admin/subjects/user:{d.choice(k.users)}"),
        _ranged("onboarding overview", "/admin/plg/onboarding/overview"),
        _ranged("referrals overview", "/admin/plg/referrals/overview"),
        _plain("referrals overview of all times", "/admin/plg/referrals/overview"),
        _plain("dead letters", "/v1/admin/dead"),
        _plain("dead letters, all", "/v1/admin/dead?status=all"),
        _plain("dead letters of a code", "/v1/admin/dead?code=undecodable"),
        Answer("a dead letter", lambda d, k: f"/v1/admin/dead/{d.choice(k.letters)}"),
        _plain("effects", "/v1/admin/effects"),
        _plain("effects, dead", "/v1/admin/effects?status=dead"),
        _plain("effects, delivered", "/v1/admin/effects?status=delivered"),
        _plain("effects of a type", "/v1/admin/effects?type=usage.*"),
        Answer("effects of a destination", lambda d, k: f"/v1/admin/effects?destination={d.choice(k.destinations)}"),
        Answer("an effect", lambda d, k: f"/v1/admin/effects/{d.choice(k.effects)}"),
        _plain("webhooks", "/v1/admin/webhooks"),
        Answer("deliveries of a webhook", lambda d, k: f"/v1/admin/webhooks/{d.choice(k.destinations)}/deliveries"),
        Answer("a session", lambda d, k: f"/v1/sessions/{_quoted(d.choice(k.sessions))}"),
        Answer("progress of a user", lambda d, k: f"/v1/progress?userId={d.choice(k.users)}"),
        Answer("statistics of a user", lambda d, k: f"/v1/progress/stats?userId={d.choice(k.users)}"),
        Answer("certificates of a user", lambda d, k: f"/v1/certificates?userId={d.choice(k.users)}"),
        Answer("checklist of a user", lambda d, k: f"/v1/onboarding/status?userId={d.choice(k.users)}"),
        Answer("referrals of an organisation", lambda d, k: f"/v1/referrals?orgId=org-{d.randrange(1, 40)}"),
    ]


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


async def known(conn: asyncpg.Connection) -> Known:
    """Something of everything."""

    async def column(query: str) -> list[str]:
        return [str(row[0]) for row in await conn.fetch(query)]

    return Known(
        await column("SELECT session_id FROM user_sessions WHERE hashtext(session_id) % 20 = 0 LIMIT 500"),
        (await column("SELECT session_id FROM user_sessions ORDER BY interactions DESC LIMIT 1"))[0],
        await column("SELECT substr(subject, 6) FROM usage_accounts WHERE hashtext(subject) % 20 = 0 LIMIT 500"),
        await column("SELECT message_id FROM effects WHERE hashtext(id) % 20 = 0 LIMIT 500"),
        await column("SELECT id FROM dead_letters LIMIT 500"),
        await column("SELECT id FROM destinations"),
        datetime.now(UTC),
    )


async def measure(
    url: str, key: str, there: Known, times: int = TIMES, moved: Callable[[int, str], None] = lambda _n, _name: None
) -> list[Answer]:
    """Ask for each answer `times` times, for each of its ranges; the ends of ranges vary within a third of them."""
    draw = random.Random(1)
    asked = answers()
    async with aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {key}"}) as client:
        for number, answer in enumerate(asked):
            moved(number, answer.name)
            for days in answer.ranges or (0,):
                took = answer.seconds[f"{days} d" if days else "-"] = []
                for turn in range(times):
                    path = answer.path(draw, there)
                    took.append(await _timed(client, _in_range(draw, path, days, turn, there.now)))
    return asked


def _in_range(draw: random.Random, path: str, days: int, turn: int, now: datetime) -> str:
    """Every third one ends now; the others end up to a third of the range earlier."""
    if not days:
        return path
    end = now if turn % 3 == 0 else now - timedelta(minutes=draw.randrange(1, days * 480))
    words = {"from": (end - timedelta(days=days)).isoformat(), "to": end.isoformat()}
    return f"{path}{'&' if '?' in path else '?'}{urllib.parse.urlencode(words)}"


async def _timed(client: aiohttp.ClientSession, path: str) -> float:
    begun = time.perf_counter()
    async with client.get(yarl.URL(path, encoded=True)) as response:
        body = await response.read()
    took = time.perf_counter() - begun
    if response.status != 200:
        raise RuntimeError(f"GET {path}: {response.status} {body[:300]!r}")
    return took


def quantile(values: Sequence[float], q: float) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


class Line(NamedTuple):
    """What one answer took for one range, in ms; `first`: its first request."""

    name: str
    range: str
    p50: float
    p95: float
    first: float


def table(asked: Sequence[Answer]) -> list[Line]:
    """A line for each answer and range."""
    return [
        Line(one.name, days, *(round(1e3 * value, 1) for value in (quantile(took, 0.5), quantile(took, 0.95), took[0])))
        for one in asked
        for days, took in one.seconds.items()
    ]


async def _asked(url: str, database_url: str, key: str) -> list[Line]:
    conn = await asyncpg.connect(database_url)
    there = await known(conn)
    await conn.close()
    asked = answers()
    with Bar("answers", len(asked)) as bar:
        return sorted(table(await measure(url, key, there, moved=bar.show)), key=lambda one: -one.p95)


def main() -> None:
    """Measure, and print the lines, the slowest first."""
    parser = argparse.ArgumentParser(prog="python -m bench.answers", description=__doc__)
    parser.add_argument("url", metavar="URL", help="of an API")
    parser.add_argument("database", metavar="DATABASE", help="its Postgres, where sessions and people are looked for")
    parser.add_argument("key", metavar="KEY", help="of a service, with the scopes read and admin")
    arguments = parser.parse_args()
    for line in asyncio.run(_asked(arguments.url, arguments.database, arguments.key)):
        sys.stdout.write(f"| {' | '.join(map(str, line))} |\n")


if __name__ == "__main__":
    main()
