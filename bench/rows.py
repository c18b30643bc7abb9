"""A row of docs/performance.md, and what the measurements of rows share. Ours and the other take turns."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from bench import load, stage
from bench.stage import Stage
from db import keys
from db.settings import Settings

ROUNDS: Final = 3
SESSIONS: Final = 1000
"""Active at once, so that a batch has fewer sessions than actions, as in life."""


@dataclass(slots=True)
class Row:
    """One line of the table: rates or latencies of ours and of the other, and whether the goal is reached."""

    what: str
    against: str
    goal: str
    ours: str = ""
    theirs: str = ""
    result: str = ""
    reached: bool | None = None
    detail: dict[str, Any] = field(default_factory=dict)


def interaction(session: int) -> dict[str, Any]:
    """A typical interaction, 300 bytes as the log carries it."""
    data = {
        "eventType": "selection",
        "category": "nest",
        "elementId": "nest-option-80",
        "selectionValue": "nest-80",
        "previousValue": "nest-75",
        "timeSpent": 1200,
        "deviceInfo": {"type": "mobile", "width": 390, "height": 844},
    }
    return {"kind": "interaction.recorded", "sessionId": f"session-{session:08d}", "data": data}


def posts(st: Stage, number: int = SESSIONS, headers: str = "") -> list[bytes]:
    """A POST of one interaction for each of so many sessions."""
    bodies = [msgspec.json.encode(interaction(session)) for session in range(number)]
    return [load.request("POST", "/v1/actions", st.key, body, headers) for body in bodies]


def lists(number: int) -> list[list[dict[str, Any]]]:
    """So many lists of 100 interactions, spread over the sessions."""
    return [[interaction(random.randrange(SESSIONS)) for _ in range(100)] for _ in range(number)]


def batches(st: Stage, actions: Sequence[Sequence[dict[str, Any]]]) -> list[bytes]:
    """A POST of each list."""
    return [load.request("POST", "/v1/actions", st.key, msgspec.json.encode({"actions": one})) for one in actions]


def ratio_of(row: Row, ours: Sequence[float], theirs: Sequence[float], unit: str, goal: float) -> Row:
    """Fill in the medians of the rounds, and the median of their ratios, reached from `goal` on."""
    pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
    ratio = statistics.median(pairs)
    row.ours, row.theirs = (f"{statistics.median(values):,.0f} {unit}" for values in (ours, theirs))
    row.result, row.reached = f"{ratio:.2f}", ratio >= goal
    row.detail = {"ratio": ratio, "ratios": pairs, "ours": list(ours), "theirs": list(theirs)}
    return row


def reads(row: Row, ours: Sequence[float], theirs: Sequence[float], p99s: Sequence[float]) -> Row:
    """The rates of cached reads, and our p99 (seconds) at half the rate: both have to reach their goal."""
    ratio_of(row, ours, theirs, "reads/s", 0.9)
    p99 = statistics.median(p99s)
    row.result += f", p99 {p99 * 1e3:.1f} ms at half the rate"
    row.reached = bool(row.reached) and p99 < 0.01
    return row


def settings(st: Stage) -> Settings:
    return Settings(database_url=st.urls.database_url, redis_url=st.urls.redis_url)


def servers(st: Stage, stack: ExitStack, **env: str) -> tuple[tuple[str, int], tuple[str, int]]:
    """Our API and the bare one: URL and process id of each."""
    found = []
    for module in ("api", "bench.bare"):
        port = stage.free_port()
        arguments = [str(port), st.urls.redis_url] if module == "bench.bare" else []
        process = stack.enter_context(stage.process(st, "-m", module, *arguments, MILEPOST_PORT=str(port), **env))
        url = f"http://127.0.0.1:{port}"
        stage.await_http(url + "/livez")
        found.append((url, process.pid))
    return found[0], found[1]


async def forget(st: Stage) -> None:
    """Drop what nobody drained, so that the next round begins as this one did."""
    client = Redis.from_url(st.urls.redis_url)
    await client.delete(*(keys.actions(partition) for partition in range(settings(st).partitions)))
    await client.aclose()


def demand(result: load.Result, status: int) -> None:
    """Every answer has this status, or the figure would be of something else."""
    if set(result.statuses) != {status}:
        raise RuntimeError(f"answers other than {status}: {dict(result.statuses)}")
