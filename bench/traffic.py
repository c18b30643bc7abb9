"""Simulated traffic of a product configurator: visitors look, choose, change their minds and drop off."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any, Final

import msgspec

from bench.metering import Metered

SESSIONS: Final = 500
DEVICES: Final = 16
SPAN: Final = timedelta(days=28)
SHARE: Final = 8
"""One customer for so many sessions."""
RETURNS: Final = 0.4
"""Share of the sessions that are of customers, who come again and again."""

CATEGORIES: Final[tuple[tuple[str, tuple[tuple[str, int], ...]], ...]] = (
    ("nest", (("nest80", 188_600), ("nest100", 227_100), ("nest120", 265_500), ("nest140", 304_000))),
    ("gebaeudehuelle", (("trapezblech", 0), ("laerche", 9_600), ("fundermax", 24_000), ("plattenwerk", 36_400))),
    ("innenverkleidung", (("fichte", 0), ("kiefer", 1_400), ("eiche", 12_300))),
    ("fussboden", (("ohne", 0), ("parkett", 7_200), ("stein", 9_800))),
    ("fenster", (("pvc", 0), ("holz", 6_900), ("aluminium", 12_400))),
    ("ausstattung", (("basis", 0), ("komfort", 9_600), ("premium", 21_800))),
)
STAYS: Final = (0.93, 0.90, 0.88, 0.92, 0.90, 0.55)
"""Share of visitors who go on behind each category; behind the last one they order."""
SCREENS: Final = (
    ("mobile", 390, 844, 48),
    ("mobile", 412, 915, 17),
    ("tablet", 820, 1180, 8),
    ("desktop", 1440, 900, 15),
    ("desktop", 1920, 1080, 12),
)
_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its actions as lines of NDJSON with the ids in them; `again`: the same was sent just before."""

    lines: list[bytes]
    ids: list[str]
    again: bool = False


@dataclass(frozen=True, slots=True)
class Expected:
    """What course data says must be there when all is applied, counted from the files alone."""

    courses: int
    enrolments: int
    completed: int
    certificates: frozenset[tuple[str, str]]
    """(user, course): every lesson of the course was completed."""


@dataclass(slots=True)
class Stretch:
    """What is to be played. Each lane is one sender that keeps its order."""

    title: str
    lanes: list[list[Request]]
    example: str
    """A session that will exist."""
    remarks: list[str] = field(default_factory=list)
    pace: float = 0.0
    """Actions a second, about; 0: as fast as it goes."""
    courses: bytes = b""
    """Body of `PUT /v1/courses`, sent before all else."""
    expected: Expected | None = None
    metered: Metered | None = None
    """What an access log says of the API calls in it, whose ids begin with `prefix`."""
    prefix: str = ""
    run: str = ""
    """What the ids of simulated people begin with."""

    @property
    def number(self) -> int:
        """All actions, repetitions included."""
        return sum(len(request.lines) for lane in self.lanes for request in lane)


def simulated(sessions: int = SESSIONS, seed: int = 7, end: datetime | None = None, run: str | None = None) -> Stretch:
    """The same journeys for the same seed, over the weeks before `end`, where some go on; the ids are of this run."""
    rng = random.Random(seed)
    prefix = f"demo-{run or secrets.token_hex(4)}-"
    end = end or datetime.now(UTC)
    starts = sorted(begin(rng, end) for _ in range(sessions))
    lanes: list[list[Request]] = [[] for _ in range(DEVICES)]
    for number, start in enumerate(starts):
        user = customer(prefix, rng.randrange(customers(sessions))) if rng.random() < RETURNS else None
        journey = Journey(rng, start, f"{prefix}{number:04d}", number, user)
        lanes[number % DEVICES] += _requests(rng, journey.until(end))
    example = f"{prefix}{sessions // 20 * 10:04d}"
    title = f"{sessions} simulated sessions of a configurator"
    return Stretch(title, lanes, example, pace=1500, run=prefix)


def begin(rng: random.Random, end: datetime) -> datetime:
    """When somebody began: within `SPAN` before `end`, the nearer the more often."""
    least = timedelta(minutes=1)
    return end - least - (SPAN - least) * rng.random() ** 2


def customers(sessions: int) -> int:
    """How many there are beside so many sessions."""
    return max(1, sessions // SHARE)


def customer(prefix: str, number: int) -> str:
    """The user id of one."""
    return f"{prefix}customer-{number:03d}"


class Journey:
    """One visit, from the landing page to wherever it ends."""

    def __init__(self, rng: random.Random, start: datetime, name: str, number: int, user: str | None) -> None:
        self.rng, self.at, self.name = rng, start, name
        kind, width, height, _ = rng.choices(SCREENS, [screen[3] for screen in SCREENS])[0]
        self.device = {"type": kind, "width": width, "height": height}
        self.user = user
        self.chosen: dict[str, str] = {}
        self.price = 0
        self._number = 0
        # A few visitors come without a session of the client's: Milepost makes theirs.
        self.who = {"anonymousId": f"{name}-visitor"} if number % 10 == 3 else {"sessionId": name}

    def until(self, end: datetime) -> Iterator[dict[str, Any]]:
        """What it has sent by then."""
        return takewhile(lambda _: self.at <= end, self.actions())

    def actions(self) -> Iterator[dict[str, Any]]:
        """What it sends, in order."""
        rng = self.rng
        yield self._page("/", rng.choice((None, "https://www.google.com/", "https://www.instagram.com/")))
        yield self._metric("image_load_time", rng.lognormvariate(5.6, 0.5))
        yield self._page("/konfigurator", None)
        for (category, options), stays in zip(CATEGORIES, STAYS, strict=True):
            yield from self._category(category, options)
            if rng.random() < 0.12 and self.user is None:
                self.user = f"user-{rng.randrange(10**6):06d}"
                yield self._action("user.identified", {"traits": {"newsletter": rng.random() < 0.4}}, 4)
            if rng.random() > stays:
                yield from self._leave()
                return
            if rng.random() < 0.5:
                yield self._save("auto_save")
        yield self._save("order_attempt")
        yield self._action("event.tracked", {"event": "order_sent", "properties": {"price": self.price}}, 1)
        if rng.random() < 0.8:
            yield self._action("session.ended", {}, 20)

    def _category(self, category: str, options: tuple[tuple[str, int], ...]) -> Iterator[dict[str, Any]]:
        rng = self.rng
        for _ in range(rng.randrange(2)):
            yield self._interaction("scroll", category, rng.uniform(1, 6))
        for option, _ in rng.sample(options, rng.randint(1, len(options) - 1)):
            yield self._interaction("hover" if self.device["type"] == "desktop" else "click", category, 2, option)
        changes = rng.choices((1, 2, 3), (72, 22, 6))[0]
        for option, price in rng.sample(options, min(changes, len(options))):
            yield self._choose(category, option, price, dict(options))
            yield self._metric("price_calc_time", rng.lognormvariate(3.2, 0.4))
        yield self._metric("image_load_time", rng.lognormvariate(5.3, 0.6))

    def _choose(self, category: str, option: str, price: int, prices: dict[str, int]) -> dict[str, Any]:
        before = self.chosen.get(category)
        self.price += price - prices.get(before or "", 0)
        self.chosen[category] = option
        chosen = {"selectionValue": option} | ({"previousValue": before} if before else {})
        return self._interaction("selection", category, self.rng.lognormvariate(2.0, 0.7), option, chosen)

    def _leave(self) -> Iterator[dict[str, Any]]:
        if self.rng.random() < 0.6:
            yield self._save("page_exit")
        if self.rng.random() < 0.5:
            yield self._action("session.ended", {}, 2)

    def _interaction(
        self, event: str, category: str, seconds: float, element: str | None = None, more: dict[str, str] | None = None
    ) -> dict[str, Any]:
        data: dict[str, Any] = {"eventType": event, "category": category, "timeSpent": int(seconds * 1000)}
        data |= {"elementId": f"{category}-{element}"} if element else {}
        return self._action("interaction.recorded", data | (more or {}) | {"deviceInfo": self.device}, seconds)

    def _metric(self, name: str, milliseconds: float) -> dict[str, Any]:
        data = {"metricName": name, "value": round(milliseconds, 1), "additionalData": {"device": self.device["type"]}}
        return self._action("metric.recorded", data, 0.2)

    def _page(self, path: str, referrer: str | None) -> dict[str, Any]:
        return self._action("page.viewed", {"path": path} | ({"referrer": referrer} if referrer else {}), 3)

    def _save(self, trigger: str) -> dict[str, Any]:
        percentage = round(100 * len(self.chosen) / len(CATEGORIES), 1)
        data = {"configuration": dict(self.chosen), "trigger": trigger, "totalPrice": self.price}
        return self._action("configuration.saved", data | {"completionPercentage": percentage}, 1)

    def _action(self, kind: str, data: dict[str, Any], seconds: float) -> dict[str, Any]:
        self.at += timedelta(seconds=seconds * self.rng.uniform(0.6, 1.6))
        self._number += 1
        who: dict[str, Any] = self.who | ({"userId": self.user} if self.user and "sessionId" in self.who else {})
        head = {"id": f"{self.name}.{self._number}", "kind": kind, "at": self.at.isoformat(timespec="milliseconds")}
        return head | who | {"data": data}


def _requests(rng: random.Random, actions: Iterator[dict[str, Any]]) -> list[Request]:
    """As clients send: singles, small and large batches; now and then one again; now and then something wrong."""
    waiting, found = list(actions), list[Request]()
    while waiting:
        size = rng.choices((1, rng.randint(2, 8), rng.randint(9, 40)), (30, 50, 20))[0]
        part, waiting = waiting[:size], waiting[size:]
        if rng.random() < 0.012:
            part.insert(rng.randrange(len(part) + 1), _wrong(rng, part[0]))
        request = Request([_encode(action) for action in part], [action["id"] for action in part])
        found.append(request)
        if rng.random() < 0.02:  # the answer came too late for this client
            found.append(Request(request.lines, request.ids, again=True))
    return found


def _wrong(rng: random.Random, near: dict[str, Any]) -> dict[str, Any]:
    """Mistakes that clients make."""
    kind, data = "interaction.recorded", {"eventType": "click", "category": "nest"}
    mistake: dict[str, Any] = rng.choice(
        (
            {"kind": "interaction.recoded", "data": data},
            {"kind": kind, "data": {"eventType": "tap", "category": "nest"}},
            {"kind": kind, "data": data | {"timeSpent": -5}},
            {"kind": kind, "data": data | {"elementId": "a\0b"}},
            {"kind": kind, "data": data, "at": "2026-11-21T08:00:00"},
            {"kind": "configuration.saved", "data": {"configuration": [1], "trigger": "auto_save"}},
            {"kind": kind, "data": data, "sessionId": None},
        )
    )
    return near | mistake | {"id": f"{near['id']}-wrong"}
