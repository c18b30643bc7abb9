"""A load generator: prepared HTTP requests over kept-alive connections, cheap enough not to be what is measured."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any, cast
from urllib.parse import urlsplit


@dataclass(slots=True)
class Result:
    """What one run saw: latencies in seconds, answers by status."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Answers in a second."""
        return len(self.latencies) / self.seconds

    def quantile(self, q: float) -> float:
        """The latency that a share `q` of the answers kept to, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


def request(method: str, path: str, key: str, body: bytes = b"", headers: str = "") -> bytes:
    """One request as bytes."""
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n{headers}"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], result: Result, until: float, interval: float, first: float) -> None:
        self.requests, self.result, self.until, self.interval = requests, result, until, interval
        self.due = first
        self.started = 0.0
        self.buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self.seen: Callable[[bytes, float], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._next()

    def _next(self) -> None:
        now = time.perf_counter()
        if now >= self.until:
            self.transport.close()
            return
        if self.interval:
            self.due += self.interval
            if self.due > now:
                asyncio.get_running_loop().call_later(self.due - now, self._send)
                return
        self._send()

    def _send(self) -> None:
        # With a rate, latency counts from when the request was due: a slow server cannot hide its queue.
        self.started = min(self.due, time.perf_counter()) if self.interval else time.perf_counter()
        following = next(self.requests, None)
        if following is None:
            self.transport.close()
        else:
            self.transport.write(following)

    def data_received(self, data: bytes) -> None:
        self.buffer = data if not self.buffer else self.buffer + data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end]
        at = head.find(b"ontent-Length: ")
        length = int(head[at + 15 : (head.find(b"\r\n", at) + 1 or end + 1) - 1])
        if len(self.buffer) < end + 4 + length:
            return
        body, self.buffer = self.buffer[end + 4 :], b""
        now = time.perf_counter()
        self.result.latencies.append(now - self.started)
        self.result.statuses[int(head[9:12])] += 1
        if self.seen is not None:
            self.seen(body, self.started)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def drive(
    url: str,
    requests: Sequence[bytes],
    *,
    connections: int = 64,
    seconds: float = 3.0,
    rate: float = 0.0,
    count: int = 0,
    seen: Callable[[bytes, float], None] | None = None,
) -> Result:
    """Send `requests` round and round for `seconds`, or `count` of them; as fast as answered, or at `rate` a second."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    loop = asyncio.get_running_loop()
    result = Result(seconds)
    source = islice(cycle(requests), count or None)
    begun = time.perf_counter()
    interval = connections / rate if rate else 0.0
    made: list[_Connection] = []
    for number in range(connections):
        first = begun + interval * number / connections - interval

        def build(first: float = first) -> Any:
            connection = _Connection(source, result, begun + seconds, interval, first)
            connection.seen = seen
            made.append(connection)
            return connection

        await loop.create_connection(build, host, port)
    await asyncio.wait([connection.done for connection in made], timeout=seconds + 15)
    result.seconds = time.perf_counter() - begun
    return result
