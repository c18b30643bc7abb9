"""What waits in the log when more comes than is applied: a small simulation of the drain under bursts and pauses.

Actions come at a rate that changes from span to span; one server takes all that wait, in batches, first come first
served. It is a pure function of its arguments, checked against a real run by `bench/burst.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

CAUGHT_UP: Final = 0.5
"""The backlog is made up for when no more waits than came in so many seconds."""
POINTS: Final = 5
"""Ages that stand for those of a batch: its actions came one after the other."""


class Span(NamedTuple):
    """So many actions a second, for so many seconds."""

    seconds: float
    rate: float


class Pause(NamedTuple):
    """No batch begins in between: Postgres is away."""

    begin: float
    end: float


class Service(NamedTuple):
    """A batch takes `batch` seconds, and `each` more for every action; it has `most` of them at most."""

    batch: float
    each: float
    most: int

    @property
    def top(self) -> float:
        """Actions a second, when batches are full."""
        return self.most / (self.batch + self.each * self.most)


class Backlog(NamedTuple):
    """What came of it. Times in seconds from the beginning; ages from arrival until applied."""

    peak: float
    """Actions that waited, at most."""
    caught_up: float | None
    """When the backlog of the last pause was made up for; None: not within the spans, or there was no pause."""
    p50: float
    p99: float
    """Of the ages."""
    curve: list[tuple[float, float]]
    """(time, actions that wait), at the end of each batch."""


def simulated(spans: Sequence[Span], service: Service, pauses: Sequence[Pause] = ()) -> Backlog:
    """Apply what comes in these spans, to its end."""
    total = sum(span.seconds * span.rate for span in spans)
    resumed = max((pause.end for pause in pauses), default=None)
    now, done, peak, caught_up = 0.0, 0.0, 0.0, None
    ages: list[tuple[float, float]] = []
    curve: list[tuple[float, float]] = []
    while total - done > 0.5:
        now = _free(max(now, _when(spans, min(done + 1, total))), pauses)
        taken = min(_came(spans, now) - done, service.most)
        now += service.batch + service.each * taken
        peak = max(peak, _came(spans, now) - done)
        for point in range(POINTS):
            age = now - _when(spans, done + taken * (point + 0.5) / POINTS)
            ages.append((age, taken / POINTS))
        done += taken
        left = _came(spans, now) - done
        curve.append((now, left))
        if resumed is not None and caught_up is None and now > resumed and left <= CAUGHT_UP * _rate(spans, now):
            caught_up = now
    return Backlog(peak, caught_up, _weighed(ages, 0.5), _weighed(ages, 0.99), curve)


def _free(now: float, pauses: Sequence[Pause]) -> float:
    """The first moment from `now` on in no pause."""
    for pause in sorted(pauses):
        if pause.begin <= now < pause.end:
            now = pause.end
    return now


def _starts(spans: Sequence[Span]) -> Iterator[tuple[float, float, Span]]:
    """(begin, actions that came before it, span)."""
    begin = before = 0.0
    for span in spans:
        yield begin, before, span
        begin, before = begin + span.seconds, before + span.seconds * span.rate


def _came(spans: Sequence[Span], at: float) -> float:
    """Actions that came before this moment."""
    return sum(max(0.0, min(at - begin, span.seconds)) * span.rate for begin, _, span in _starts(spans))


def _when(spans: Sequence[Span], number: float) -> float:
    """The moment at which so many have come."""
    for begin, before, span in _starts(spans):
        if span.rate and number <= before + span.seconds * span.rate + 1e-9:
            return begin + (number - before) / span.rate
    raise ValueError(f"only {_came(spans, float('inf')):g} actions come, not {number:g}")


def _rate(spans: Sequence[Span], at: float) -> float:
    return next((span.rate for begin, _, span in _starts(spans) if begin <= at < begin + span.seconds), 0.0)


def _weighed(values: Sequence[tuple[float, float]], q: float) -> float:
    """The value that a share `q` of the weight keeps to."""
    left = q * sum(weight for _, weight in values)
    for value, weight in sorted(values):
        left -= weight
        if left <= 1e-9:
            return value
    return 0.0
