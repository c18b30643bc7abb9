"""The API's own times, as its processes would have handed them over in the days before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from jobs.analytics import cells, metrics
from jobs.analytics.cells import DAY, HOUR, MINUTE, bucket, cut
from jobs.analytics.metrics import Noted
from jobs.analytics.recounting import Sums

ROUTES: Final = tuple(f"/v1/route-{number}" for number in range(30))
HOURS: Final = 72
MINUTES: Final = 30


def add(sums: Sums, days: int, now: datetime) -> None:
    """So many days of them, hours and minutes where those are kept."""
    today = cut(now.timestamp(), "day")
    times = [today - n * DAY for n in range(days - 1, 3, -1)]
    times += [cut(now.timestamp(), "hour") - n * HOUR for n in range(HOURS)]
    times += [cut(now.timestamp(), "minute") - n * MINUTE for n in range(MINUTES)]
    for at in times:
        own = Sums({}, {})
        metrics.add(own.counts, own.most, [msgspec.json.encode(list(_noted(at)))])
        kept = {cell for cell in own.counts if cells.is_kept(cell, now.timestamp())}
        cells.add(sums.counts, {cell: own.counts[cell] for cell in kept})
        sums.most.update({cell: own.most[cell] for cell in kept})


def _noted(at: int) -> Iterator[Noted]:
    """Each route's times lie around one of its own, most of them within a factor of three."""
    for place, route in enumerate(ROUTES):
        usual = 2.0 + place
        for step in range(-20, 21):
            value = usual * 1.06**step
            number = max(1, round(300 / (1 + step * step / 10)))
            yield "api_response_time", route, at, bucket(value), number, f"{number * value:.6f}", value
        yield "api_error", route, at, bucket(usual), 3, f"{3 * usual:.6f}", usual
