"""Every metric of Milepost. With PROMETHEUS_MULTIPROC_DIR set, one scrape shows all processes of a host together."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest, multiprocess, registry

_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

ACCEPTED: Final = Counter("milepost_actions_accepted", "Actions acknowledged", ["kind"])
REJECTED: Final = Counter("milepost_actions_rejected", "Actions refused at the door", ["code"])
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


BACKLOG: Final = Gauge(
    "milepost_backlog_bytes", "Bytes of a partition's stream in Redis", ["partition"], multiprocess_mode="mostrecent"
)
LAG: Final = Gauge(
    "milepost_lag_seconds",
    "Age of a partition's oldest unapplied action",
    ["partition"],
    multiprocess_mode="mostrecent",
)
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

Observe = Callable[[float], None]
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))


def http(route: str, method: str, status: int) -> Observe:
    """Where to put the seconds of requests to one route; invented methods count as one."""
    return HTTP.labels(route, method if method in _METHODS else "OTHER", status).observe


def unseen() -> None:
    """Redis is away: what it holds is not known."""
    for gauge in (BACKLOG, LAG):
        gauge.clear()


def exposition() -> bytes:
    """The Prometheus text of this process, or of all processes that share the multiprocess folder."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(registry.REGISTRY)
    shared = CollectorRegistry()
    multiprocess.MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    return generate_latest(shared)
