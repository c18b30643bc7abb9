"""Actions to the API as a patient client sends them: the same ids again until there is an answer."""

from __future__ import annotations

import asyncio
import gzip
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import msgspec

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 15.0
SAY_SECONDS: Final = 10.0
_AGAIN: Final = frozenset((408, 429, 500, 502, 503, 504))
_TOO_MUCH: Final = 413


class Refused(Exception):
    """The API does not take this at all: a wrong URL or key, or no answer for too long. The message is for people."""


class Rejection(msgspec.Struct):
    """One action that the API refused, by its index in the request."""

    index: int
    code: str
    message: str
    id: str | None = None
    path: str | None = None


class Answer(msgspec.Struct):
    """What became of the actions of one request."""

    accepted: int = 0
    rejected: list[Rejection] = []
    position: str = ""
    shed: int = 0
    """Good ones that were not taken at the moment."""


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""
    details: Any = None


class _Body(msgspec.Struct):
    error: _Error


class _Rejected(msgspec.Struct):
    rejected: list[Rejection]


@dataclass(slots=True)
class Sender:
    """One API, one key. `patience`: seconds to go on trying while nothing gets through; `say` tells a person why."""

    session: aiohttp.ClientSession
    url: str
    key: str
    compress: bool = False
    patience: float = 300.0
    say: Callable[[str], None] = lambda _: None
    _said: tuple[str, float] = ("", 0.0)

    async def post(self, lines: Sequence[bytes]) -> Answer:
        """Send lines of NDJSON until they are answered. Raises Refused."""
        body, headers = (
            b"\n".join(lines),
            {"Authorization": f"Bearer {self.key}", "Content-Type": "application/x-ndjson"},
        )
        if self.compress:
            body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        began, pause = time.monotonic(), FIRST_PAUSE
        while True:
            try:
                async with self.session.post(f"{self.url}/v1/actions", data=body, headers=headers) as response:
                    status, content, after = response.status, await response.read(), response.headers.get("Retry-After")
                problem = f"the API answered {status}"
            except aiohttp.InvalidURL:
                raise Refused(f"{self.url!r} is no URL: it looks like http://127.0.0.1:8080") from None
            except aiohttp.ClientConnectorError as error:
                status, content, after, problem = 0, b"", None, f"cannot connect: {error.os_error.strerror or error}"
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                status, content, after, problem = 0, b"", None, str(error) or "no answer in time"
            if status == _TOO_MUCH:
                return await self._halves(lines, content)
            if status and status not in _AGAIN:
                answer = self._answer(status, content, len(lines))
                if not answer.shed:
                    return answer
                problem = f"{answer.shed} of {len(lines)} actions are not taken at the moment"
            if time.monotonic() - began > self.patience:
                raise Refused(f"{self.url}: {_told(content) or problem}; given up after {self.patience:.0f} s")
            wait = max(_seconds(after), random.uniform(0.5, 1) * pause)
            self._say(_told(content) or problem)
            await asyncio.sleep(wait)
            pause = min(LONGEST_PAUSE, pause * 2)

    def _say(self, problem: str) -> None:
        """A problem when it is new, and every few seconds while it lasts."""
        now = time.monotonic()
        if problem != self._said[0] or now - self._said[1] > SAY_SECONDS:
            self._said = (problem, now)
            self.say(f"{self.url}: {problem}; trying on with the same ids")

    async def _halves(self, lines: Sequence[bytes], content: bytes) -> Answer:
        """413: less at once; a single action that is too large for any request is rejected by itself."""
        if len(lines) == 1:
            return Answer(0, [Rejection(0, "too_large", _told(content) or "larger than a request may be")])
        middle = len(lines) // 2
        first, second = await self.post(lines[:middle]), await self.post(lines[middle:])
        for rejection in second.rejected:
            rejection.index += middle
        positions = ",".join(part for part in (first.position, second.position) if part)
        return Answer(first.accepted + second.accepted, first.rejected + second.rejected, positions)

    def _answer(self, status: int, content: bytes, number: int) -> Answer:
        try:
            if status < 300:
                answer = msgspec.json.decode(content, type=Answer)
            else:
                error = msgspec.json.decode(content, type=_Body).error
                answer = Answer(0, msgspec.convert(error.details, _Rejected).rejected)
        except msgspec.MsgspecError:
            raise Refused(f"{self.url}: {_told(content) or f'answered {status}, not as Milepost does'}") from None
        if answer.accepted + len(answer.rejected) + answer.shed != number:
            raise Refused(f"{self.url}: took {answer.accepted} of {number} actions and did not say why")
        return answer


def _told(content: bytes) -> str:
    try:
        error = msgspec.json.decode(content, type=_Body).error
    except msgspec.MsgspecError:
        return ""
    return f"{error.message} ({error.code})"


def _seconds(after: str | None) -> float:
    return min(60.0, float(after)) if after and after.isascii() and after.isdigit() else 0.0


def http(connections: int, seconds: float = 30.0) -> aiohttp.ClientSession:
    """A client session for so many requests at a time."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=seconds, connect=5.0),
        auto_decompress=True,
    )
