"""Every metric of Milepost. With PROMETHEUS_MULTIPROC_DIR set, one scrape shows all processes of a host together."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    registry,
)

_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

ACCEPTED: Final = Counter("milepost_actions_accepted", "Actions acknowledged", ["kind"])
REJECTED: Final = Counter("milepost_actions_rejected", "Actions refused at the door", ["code"])
SHED: Final = Counter("milepost_actions_shed", "Actions not taken: switched off, or we are too slow", ["family"])
SHEDDING: Final = Gauge(
    "milepost_shedding", "1 while a process sheds, because it answers too slowly", multiprocess_mode="livemax"
)
REFUSED: Final = Counter(
    "milepost_requests_refused", "Requests answered 503 because the log could not take them", ["code"]
)
HTTP: Final = Histogram("milepost_http_seconds", "HTTP requests", ["route", "method", "status"], buckets=_FAST)
FLUSH_ACTIONS: Final = Histogram(
    "milepost_flush_requests", "Requests in one flush of the log", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
)
APPLIED: Final = Counter("milepost_actions_applied", "Actions applied to Postgres, first time", ["kind"])
DUPLICATES: Final = Counter("milepost_actions_duplicate", "Actions whose id was applied before", ["kind"])
DEAD: Final = Counter("milepost_actions_dead", "Actions sent to the dead letters", ["code"])
ERASED: Final = Counter("milepost_actions_erased", "Actions dropped, because their person was erased")
BATCH: Final = Histogram(
    "milepost_batch_actions", "Actions in one applied batch", buckets=(1, 10, 50, 100, 500, 1000, 2500, 5000, 10_000)
)
APPLY: Final = Histogram("milepost_apply_seconds", "One batch from lock to commit", buckets=_FAST)
FRESHNESS: Final = Histogram(
    "milepost_freshness_seconds", "From arrival to commit, the oldest action of each batch", buckets=_FAST
)
APPLY_FAILED: Final = Counter("milepost_apply_failures", "Batches rolled back, to be tried again", ["reason"])
REREAD: Final = Counter("milepost_rereads", "Partitions read again from the start, because Redis lost data")
CACHE: Final = Counter("milepost_cache_reads", "Reads of cached models", ["result"])
LIVE: Final = Gauge("milepost_live_connections", "Open live streams", multiprocess_mode="livesum")
LIVE_ENDED: Final = Counter("milepost_live_ended", "Live streams that ended, by reason", ["reason"])
EFFECTS: Final = Counter("milepost_effects", "Effects written to the outbox", ["type"])
ATTEMPTS: Final = Counter("milepost_delivery_attempts", "Tries to deliver an effect", ["sort", "result"])


BACKLOG: Final = Gauge(
    "milepost_backlog_bytes", "Bytes of a partition's stream in Redis", ["partition"], multiprocess_mode="mostrecent"
)
LAG: Final = Gauge(
    "milepost_lag_seconds",
    "Age of a partition's oldest unapplied action",
    ["partition"],
    multiprocess_mode="mostrecent",
)
DELIVERIES: Final = Gauge(
    "milepost_deliveries", "Deliveries that wait or are dead", ["sort", "status"], multiprocess_mode="mostrecent"
)
OLDEST_DELIVERY: Final = Gauge(
    "milepost_oldest_delivery_seconds",
    "Age of the oldest delivery that waits",
    ["sort"],
    multiprocess_mode="mostrecent",
)
DIFFERING: Final = Gauge(
    "milepost_states_differing",
    "Rows of states that were not what their facts say, when a schedule last compared them",
    ["table"],
    multiprocess_mode="mostrecent",
)
ASIDE: Final = Gauge(
    "milepost_sessions_aside",
    "Sessions that analytics cannot count, and has put aside",
    multiprocess_mode="mostrecent",
)
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))


class Tally:
    """A counter's increments as a plain number until `fold`: the counter itself costs 1 us, with its lock."""

    __slots__ = ("_counter", "_number")

    def __init__(self, counter: Counter) -> None:
        self._counter, self._number = counter, 0
        _tallies.append(self)

    def add(self, number: int = 1) -> None:
        """Count."""
        self._number += number

    def fold(self) -> None:
        """Into the counter."""
        number, self._number = self._number, 0
        if number:
            self._counter.inc(number)


class Timing:
    """A histogram's observations as a plain list until `fold`: observing each took 5 of a request's 33 us."""

    __slots__ = ("_histogram", "_seconds", "_told", "observe")

    def __init__(self, histogram: Histogram, told: Callable[[Sequence[float]], None] | None = None) -> None:
        """`told`: gets what is folded, too, in order of size."""
        self._histogram, self._told = histogram, told
        self._seconds: list[float] = []
        self.observe: Final = self._seconds.append
        """Note one, in seconds."""
        _tallies.append(self)

    def fold(self) -> None:
        """Into the histogram, which knows no other way to take many at once than its own parts."""
        if not self._seconds:
            return
        seconds = sorted(self._seconds)
        self._seconds.clear()
        below = 0
        for bound, bucket in zip(self._histogram._upper_bounds, self._histogram._buckets, strict=True):  # noqa: SLF001
            upto = bisect_right(seconds, bound)
            if upto > below:
                bucket.inc(upto - below)
            below = upto
        self._histogram._sum.inc(sum(seconds))  # noqa: SLF001
        if self._told is not None:
            self._told(seconds)


_tallies: list[Tally | Timing] = []


def fold() -> None:
    """Put what was gathered into the metrics; each process does it twice a second, and before it is asked."""
    for tally in _tallies:
        tally.fold()


def method(name: str) -> str:
    """A method's label: invented ones count as one."""
    return name if name in _METHODS else "OTHER"


def http(route: str, method: str, status: int, told: Callable[[Sequence[float]], None]) -> Timing:
    """Where to put the seconds of requests to one route; `told` gets them, too."""
    return Timing(HTTP.labels(route, method, status), told)


def unseen() -> None:
    """Redis is away: what it holds is not known."""
    for gauge in (BACKLOG, LAG, DELIVERIES, OLDEST_DELIVERY, DIFFERING):
        gauge.clear()


def deliveries(counted: Iterable[tuple[str, str, int, float]]) -> None:
    """What waits and what is dead, as a worker counted it: sort, status, number, seconds of the oldest."""
    for name in ("webhook", "nats", "analytics"):
        OLDEST_DELIVERY.labels(name).set(0)
        for status in ("pending", "dead"):
            DELIVERIES.labels(name, status).set(0)
    for name, status, number, seconds in counted:
        DELIVERIES.labels(name, status).set(number)
        if status == "pending":
            OLDEST_DELIVERY.labels(name).set(seconds)


def exposition() -> bytes:
    """The Prometheus text of this process, or of all processes that share the multiprocess folder."""
    fold()
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(registry.REGISTRY)
    shared = CollectorRegistry()
    multiprocess.MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return generate_latest(shared)
