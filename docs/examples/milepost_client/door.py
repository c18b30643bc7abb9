"""What Milepost answers, read once: which lines it took, which it never will, which to send again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

AGAIN: Final = "family_off"
"""The one code of a refused action that is not for ever: an operator has switched its family off."""
NDJSON: Final = "application/x-ndjson"


@dataclass(slots=True)
class Verdict:
    """Of one request with some lines."""

    taken: bool
    """Whether every line was judged; else none was, and all of them are to be sent again."""
    rejected: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Line -> code, message: it will never be taken."""
    later: set[int] = field(default_factory=set)
    """Lines to send again some time later."""
    shed: int = 0
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Id -> what the worker said of it; empty unless it was asked to wait."""
    too_much: bool = False
    """The request itself cannot be taken: fewer lines may be."""
    retry_after: float | None = None
    message: str = ""


def read(status: int, headers: Mapping[str, str], content: bytes) -> Verdict:
    """An answer of `POST /v1/actions`. A 200 that is not of Milepost, as a proxy may give, has taken nothing."""
    body = parse(content)
    error = body.get("error", {})
    if status in {200, 202} and "accepted" in body:
        return _judged(body.get("rejected", []), body)
    details = error.get("details") if isinstance(error, dict) else None
    if isinstance(details, dict) and "rejected" in details:
        return _judged(details["rejected"], {})
    said = f"{status} {content[:200].decode(errors='replace')}"
    return Verdict(taken=False, too_much=status in {400, 413, 422}, retry_after=retry_after(headers), message=said)


def _judged(rejected: Sequence[Mapping[str, Any]], body: Mapping[str, Any]) -> Verdict:
    verdict = Verdict(taken=True, shed=body.get("shed", 0))
    for one in rejected:
        if one["code"] == AGAIN:
            verdict.later.add(one["index"])
        else:
            verdict.rejected[one["index"]] = one["code"], one["message"]
    verdict.outcomes = {one["id"]: one["outcome"] for one in body.get("results", ())}
    return verdict


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds; a date, which Milepost never sends, is none."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else None


def parse(content: bytes) -> dict[str, Any]:
    """What a proxy says in between may be no JSON."""
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


class Door:
    """Milepost's address, a service key, and a session of connections."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._session = aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"})

    async def send(self, lines: Sequence[bytes], timeout: float, wait: int | None = None) -> Verdict:
        """Send lines, with `wait` until their outcomes are known. Raises aiohttp.ClientError, TimeoutError."""
        headers = {"Content-Type": NDJSON} | ({"Prefer": f"wait={wait}"} if wait else {})
        status, given, content = await self.post("/v1/actions", b"\n".join(lines), timeout, headers)
        return read(status, given, content)

    async def post(
        self, path: str, body: bytes, timeout: float, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        """(status, headers, content). Raises aiohttp.ClientError, TimeoutError."""
        total = aiohttp.ClientTimeout(total=timeout)
        async with self._session.post(
            self.url + path, data=body, headers=headers, timeout=total, allow_redirects=False
        ) as response:
            return response.status, response.headers, await response.read()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
