"""What sessions look like: some hundred of them, made once, which a fill repeats for other people at other times.

A shape goes through the folds of the worker and through the counting of a pass, at 1970-01-01. Everything that follows
from a session but its hour and its ids is the same wherever it begins, on a whole minute.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from statistics import NormalDist
from typing import Any, Final, NamedTuple

import msgspec

from jobs.action import Action
from jobs.analytics import counted, counting
from jobs.analytics.cells import Base, Count
from jobs.analytics.funnel_catalog import Funnel
from jobs.analytics.funnels import Done
from jobs.family import Item, Row
from jobs.tracking import rows as tables
from jobs.tracking.family import Tracking
from jobs.tracking.session import Session
from jobs.tracking.states import States

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SHAPES: Final = 1500
INTERACTIONS: Final = 20
"""Of a session, on average."""
LONG: Final = 5500
"""Of the last shape: more than a pass reckons each time."""
SPREAD: Final = 1.0
"""Sigma of the logarithm of how many: a tenth of the sessions has half of all interactions."""

CATEGORIES: Final = ("nest", "gebaeudehuelle", "innenverkleidung", "fussboden", "fenster", "ausstattung", "farbe")
DEVICES: Final = (("mobile", 390, 844), ("mobile", 412, 915), ("tablet", 820, 1180), ("desktop", 1920, 1080))
BROWSERS: Final = ("Chrome 141", "Safari 19", "Firefox 144", "Edge 141", "Samsung Internet 29")
REFERRERS: Final = (None, "https://www.google.com/", "https://duckduckgo.com/", "https://news.example.org/article")
PAGES: Final = tuple(f"/page/{number}" for number in range(40))
CONFIGURATIONS: Final = 400
"""Different ones that sessions end with."""

_KINDS: Final = {kind.name: kind for kind in Tracking.kinds}


class Shape(NamedTuple):
    """One session as it would be at EPOCH, of nobody."""

    session: Session
    rows: Mapping[str, Sequence[Row]]
    """Table -> its facts."""
    counts: Mapping[Base, Count]
    configuration: tuple[str, str] | None
    """Digest and body of the last one."""

    @property
    def length(self) -> timedelta:
        """From the first action to the last one."""
        return self.session.last_at - self.session.at


def made(funnels: Sequence[Funnel], number: int = SHAPES, seed: int = 1) -> list[Shape]:
    """`number` shapes with INTERACTIONS on average, in no order, and a long one at the end."""
    draw = random.Random(seed)
    lengths = _lengths(number)
    draw.shuffle(lengths)
    return [_shape(list(_actions(draw, length)), funnels) for length in (*lengths, LONG)]


def _lengths(number: int) -> list[int]:
    """Quantiles of a lognormal distribution, so that the mean is what it should be."""
    normal = NormalDist(-(SPREAD**2) / 2, SPREAD)
    sizes = [INTERACTIONS * math.e ** normal.inv_cdf((n + 0.5) / number) for n in range(number)]
    scale = INTERACTIONS * number / sum(sizes)
    lengths = [int(size * scale) for size in sizes]
    for n in range(INTERACTIONS * number - sum(lengths)):
        lengths[-1 - n % number] += 1
    return lengths


def _actions(draw: random.Random, interactions: int) -> Iterator[Action]:
    """A page, then interactions with pages and configurations in between; milliseconds, no two at once."""
    at = EPOCH
    kind, width, height = draw.choice(DEVICES)
    device = {"type": kind, "width": width, "height": height}
    orders = draw.random() < 0.08
    yield _action("page.viewed", at, _page(draw))
    if draw.random() < 0.2:
        at += _pause(draw, 200)
        yield _action(
            "metric.recorded", at, {"metricName": "page_load_time", "value": round(draw.expovariate(1e-3), 3)}
        )
    place = 0
    for number in range(interactions):
        at += _pause(draw, 900)
        place = min(place + (draw.random() < 0.3), len(CATEGORIES) - 1) if draw.random() < 0.9 else draw.randrange(4)
        yield _action("interaction.recorded", at, _interaction(draw, CATEGORIES[place]) | {"deviceInfo": device})
        if draw.random() < 0.08:
            at += _pause(draw, 300)
            yield _action("page.viewed", at, _page(draw))
        if draw.random() < 0.02 or (orders and number == interactions - 1):
            at += _pause(draw, 300)
            trigger = "order_attempt" if orders and number == interactions - 1 else "auto_save"
            yield _action("configuration.saved", at, _configuration(draw, trigger))
    if draw.random() < 0.05:
        at += _pause(draw, 300)
        yield _action("event.tracked", at, {"event": "brochure", "properties": {"pages": 12}})
    if draw.random() < 0.2:
        yield _action("session.ended", at + _pause(draw, 300), {})


def _pause(draw: random.Random, least: int) -> timedelta:
    return timedelta(milliseconds=least + min(int(draw.lognormvariate(8, 1)), 600_000))


def _action(kind: str, at: datetime, data: Mapping[str, Any]) -> Action:
    body = msgspec.json.encode({name: value for name, value in data.items() if value is not None})
    return Action(f"{at.timestamp():012.3f}", kind, "session:", at, at, 0, body, session_id="")


def _page(draw: random.Random) -> dict[str, Any]:
    path = PAGES[int(len(PAGES) * draw.random() ** 2)]
    return {"path": path, "referrer": draw.choice(REFERRERS), "properties": {"browser": draw.choice(BROWSERS)}}


def _interaction(draw: random.Random, category: str) -> dict[str, Any]:
    selects = draw.random() < 0.5
    # Colours are many, and nearly all of them rare.
    values = 5000 if category == "farbe" else 60
    value = f"{category}-{int(values * draw.random() ** 2)}" if selects else None
    return {
        "eventType": "selection" if selects else draw.choice(("click", "hover", "scroll")),
        "category": category,
        "elementId": f"{category}-option-{draw.randrange(20)}",
        "selectionValue": value,
        "previousValue": f"{category}-{draw.randrange(60)}" if selects else None,
        "timeSpent": draw.randrange(30_000),
    }


def _configuration(draw: random.Random, trigger: str) -> dict[str, Any]:
    number = int(CONFIGURATIONS * draw.random() ** 3)
    return {
        "configuration": {category: f"{category}-{number % (7 + n)}" for n, category in enumerate(CATEGORIES)}
        | {"number": number},
        "trigger": trigger,
        "totalPrice": 90_000 + 850 * number,
        "completionPercentage": 100 if trigger == "order_attempt" else draw.randrange(10, 95),
    }


def _shape(actions: Sequence[Action], funnels: Sequence[Funnel]) -> Shape:
    items: list[Item] = [(None, action, _KINDS[action.kind].decoder.decode(action.data)) for action in actions]
    states = States()
    rows = Tracking().fold(states, items)
    session = states.sessions[""]
    bodies = [row[6] for row in rows.get(tables.SNAPSHOTS, ())]
    final = counting.canonical(bodies[-1]) if bodies else None
    digest = None if final is None else hashlib.sha256(final.encode()).hexdigest()
    counts = counted.of(session, sorted(_done(rows)), digest, funnels)
    return Shape(session, rows, counts, None if digest is None or final is None else (digest, final))


def _done(rows: Mapping[str, Sequence[Row]]) -> Iterator[Done]:
    """The facts as `roll_facts` reads them."""
    for row in rows.get(tables.INTERACTIONS, ()):
        yield Done(row[-3].timestamp(), row[1], "interaction.recorded", row[7], row[9])
    for row in rows.get(tables.EVENTS, ()):
        yield Done(row[-3].timestamp(), row[1], row[6], row[7])
    for row in rows.get(tables.SNAPSHOTS, ()):
        yield Done(row[-3].timestamp(), row[1], "configuration.saved", row[9])
    for row in rows.get(tables.METRICS, ()):
        yield Done(row[-3].timestamp(), row[1], "metric.recorded", row[6])
