"""Made-up visitors: requests with actions of all tracking kinds, good ones only, the same ones for the same seed."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from bench.chaos.learners import Learners
from bench.chaos.ledger import Body

KINDS: Final = {
    "interaction.recorded": 50,
    "configuration.saved": 12,
    "metric.recorded": 12,
    "page.viewed": 12,
    "event.tracked": 8,
    "user.identified": 4,
    "session.ended": 2,
}
EVENTS: Final = ("click", "hover", "selection", "scroll")
CATEGORIES: Final = ("wheels", "paint", "seats", "engine", "größe ✓")
DEVICES: Final = ({"type": "mobile", "width": 390, "height": 844}, {"type": "desktop", "width": 1920})
TRIGGERS: Final = ("auto_save", "auto_save", "page_exit", "order_attempt")


LEARN: Final = 0.3
"""Share of their actions, where there are any."""


class Request(NamedTuple):
    """One request: its actions, and whether it asks to wait for the outcome."""

    bodies: list[Body]
    waits: bool

    @property
    def named(self) -> bool:
        """Whether its actions carry ids, so that it may be sent again."""
        return "id" in self.bodies[0]


class Crowd:
    """Sessions that name themselves, and visitors who come twice, two hours apart."""

    def __init__(self, seed: int, sessions: int = 300, visitors: int = 40) -> None:
        """Ids hold the seed."""
        self.random = random.Random(seed)
        self.sessions, self.visitors, self.seed = sessions, visitors, seed
        self.began = datetime.now(UTC)
        self.number = 0
        self.learners: Learners | None = None
        """Who learns beside those who only look."""

    def request(self, size: int | None = None, *, named: bool | None = None, waits: bool | None = None) -> Request:
        """The next one: 3 of 5 are single actions, 1 of 10 is without ids, 1 of 20 waits."""
        rng = self.random
        size = size or (1 if rng.random() < 0.6 else rng.randint(2, 20))
        named = rng.random() >= 0.1 if named is None else named
        waits = rng.random() < 0.05 if waits is None else waits
        return Request([self.action(named) for _ in range(size)], waits)

    def action(self, named: bool = True) -> Body:
        """One action; without an id it carries a mark as its anonymous id."""
        rng = self.random
        self.number += 1
        if named and self.learners is not None and rng.random() < LEARN:
            return self.learners.action(self.number)
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        body: Body = {"kind": kind, "at": self._at(), "data": self._data(kind)} | self._who(kind, named)
        if named:
            body["id"] = f"ajs-next-{self.seed}-{uuid.UUID(int=rng.getrandbits(128))}"
        else:
            body["anonymousId"] = f"mark-{self.seed}-{self.number}"
        if rng.random() < 0.05:
            body["orgId"] = f"o-{rng.randrange(5)}"
        return body

    def _at(self) -> str:
        """Within ten minutes, so that a visitor's visit is one session whatever comes first; some two hours before."""
        ago = timedelta(milliseconds=self.random.randrange(600_000)) + timedelta(hours=self.random.choice((0, 0, 0, 2)))
        return (self.began - ago).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _who(self, kind: str, named: bool) -> Body:
        rng = self.random
        if rng.random() < 0.85:
            who: Body = {"sessionId": f"s-{self.seed}-{rng.randrange(self.sessions)}"}
            return who | ({"userId": f"u-{rng.randrange(50)}"} if rng.random() < 0.2 else {})
        if kind == "metric.recorded" and rng.random() < 0.5:
            return {}
        visitor = rng.randrange(self.visitors)
        if visitor % 2 or not named:
            return {"userId": f"v-{self.seed}-{visitor}"}
        return {"anonymousId": f"a-{self.seed}-{visitor}"}

    def _data(self, kind: str) -> Any:
        rng, number = self.random, self.number
        if kind == "interaction.recorded":
            data: Body = {
                "eventType": rng.choice(EVENTS),
                "category": rng.choice(CATEGORIES),
                "elementId": f"e{number}",
            }
            return data | ({"deviceInfo": rng.choice(DEVICES)} if rng.random() < 0.3 else {})
        if kind == "configuration.saved":
            data = {"configuration": {"n": number}, "trigger": rng.choice(TRIGGERS)}
            price = {"totalPrice": rng.randrange(100_000) / 100} if rng.random() < 0.7 else {}
            return data | price | ({"completionPercentage": rng.randint(0, 100)} if rng.random() < 0.7 else {})
        if kind == "metric.recorded":
            return {"metricName": "lcp", "value": number}
        if kind == "page.viewed":
            return {"path": f"/{number}"}
        if kind == "event.tracked":
            return {"event": f"event-{number}", "properties": {"n": number}}
        return {"traits": {"n": number}} if kind == "user.identified" else {}
