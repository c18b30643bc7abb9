"""Requests of an access log as usage: each address is a user who may make so many API calls a month, and not one more.

The plan FREE, on which everybody is who was given no other, has no API calls: each address gets a limit of its own,
with an action like any other, so that nobody else's plan changes. What must come of it is counted from the log alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from jobs import catalog

KINDS: Final = frozenset(("usage.limits_set", "usage.consumed"))
METER: Final = "API_CALL"
LIMIT: Final = 20
"""Calls of an address in a month; decisions count in the month in which they are made, whatever the log says."""
TOLD: Final = f"each request is an {METER} of its address, which may make {LIMIT} a month (the plan FREE alone: none)"

CALLS: Final = """SELECT user_id, count(*) FILTER (WHERE booked > 0), count(*) FILTER (WHERE booked = 0)
    FROM usage_records WHERE kind = 'usage.consumed' AND starts_with(id, $1) GROUP BY user_id"""
NOTICES: Final = """SELECT data ->> 'userId', data ->> 'thresholds' FROM effects
    WHERE type = 'usage.threshold_reached' AND data ->> 'action' = $2 AND data ->> 'userId' = ANY($1::text[])"""


@dataclass(frozen=True, slots=True)
class Metered:
    """Addresses with what they were allowed and denied, and the notices that were made of them."""

    calls: Mapping[str, tuple[int, int]]
    """address -> (allowed, denied)"""
    notices: Mapping[tuple[str, str], int]
    """(address, the thresholds that the notice names) -> how many of them; one, if all is well"""

    def counted(self) -> dict[str, tuple[int, object]]:
        """Name -> the number to show, and what it is made of."""
        allowed, denied = ({address: pair[side] for address, pair in self.calls.items()} for side in (0, 1))
        return {
            "addresses": (len(self.calls), self.calls.keys()),
            "allowed": (sum(allowed.values()), allowed),
            "denied": (sum(denied.values()), denied),
            "notices": (sum(self.notices.values()), self.notices),
        }


def limits(addresses: Iterable[str], prefix: str, at: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(address, action) that limits it; before its first call."""
    for address in dict.fromkeys(addresses):
        data = {"action": METER, "limit": LIMIT}
        head = {"id": f"{prefix}{address}-limit", "kind": "usage.limits_set", "at": at, "userId": address}
        yield address, head | {"data": data}


def call(address: str, prefix: str, line: int, at: str) -> dict[str, Any]:
    """The action of one request."""
    head = {"id": f"{prefix}{line}-call", "kind": "usage.consumed", "at": at, "userId": address}
    return head | {"data": {"action": METER}}


def expected(addresses: Iterable[str]) -> Metered:
    """What follows from the requests, an address for each."""
    calls = {address: (min(LIMIT, number), max(0, number - LIMIT)) for address, number in Counter(addresses).items()}
    notices = {(address, told): 1 for address, (allowed, _) in calls.items() for told in _notices(allowed)}
    return Metered(calls, notices)


def _notices(allowed: int) -> list[str]:
    """The thresholds in the order in which so many calls pass them; those that one call passes go into one notice."""
    passed: dict[int, list[int]] = defaultdict(list)
    for threshold in catalog.default().usage.thresholds:
        passed[-(-threshold * LIMIT // 100)].append(threshold)
    return [str(thresholds) for number, thresholds in passed.items() if number <= allowed]


async def held(conn: asyncpg.Connection, prefix: str) -> Metered:
    """What Postgres holds of the calls whose ids begin so."""
    calls = {address: (allowed, denied) for address, allowed, denied in await conn.fetch(CALLS, prefix)}
    notices = Counter((address, told) for address, told in await conn.fetch(NOTICES, list(calls), METER))
    return Metered(calls, notices)
