"""Tracking that never waits and never fails: into the spool at once, to Milepost when it can be reached."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp

from milepost_client.door import Door, Verdict
from milepost_client.spool import Batch, Spool

logger = logging.getLogger("milepost")

MOST_LINES: Final = 1000
"""Of one request."""
SETTLE_WAIT: Final = 5
"""Seconds that a request waits for the outcome of a commit."""
LONGEST_PAUSE: Final = 30.0
LONGEST_RETRY_AFTER: Final = 300.0
ADOPT_SECONDS: Final = 10.0
EXPIRED: Final = frozenset(("reservation_expired", "unknown_reservation"))

Reject = Callable[[Any, str, str], None]


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose it is: a user, or an organisation; of usage the user's, when both are given."""

    user_id: str | None = None
    org_id: str | None = None

    def fields(self) -> dict[str, str]:
        """Of an action."""
        given = {"userId": self.user_id, "orgId": self.org_id}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(slots=True)
class Counters:
    """Since the client was made."""

    sent: int = 0
    """Milepost has them."""
    rejected: int = 0
    """Milepost will never take them; each was handed to `on_rejected`."""
    dropped: int = 0
    """Never written: no JSON, too long, the spool or the disk full. Each was logged or handed to `on_rejected`."""
    shed: int = 0
    """Of `sent`: an operator has switched their family off, so that Milepost has not kept them."""
    recovered: int = 0
    """Found in files that other processes left."""


class Client:
    """One for each process and event loop: `async with Client(…) as milepost`, then `milepost.track(…)`."""

    def __init__(
        self,
        url: str,
        key: str,
        spool: Path | str,
        *,
        on_rejected: Reject | None = None,
        most_bytes: int = 256 << 20,
        fsync: bool = False,
        linger: float = 0.1,
        timeout: float = 15.0,
        deadline: float = 5.0,
    ) -> None:
        """`spool`: a folder, which the processes of a host may share.

        `linger`: seconds after which what is tracked goes out; `timeout`: of a request; `deadline`: of the flush at
        the end. `on_rejected(action, code, message)` hears of what is never taken. OSError: the folder cannot be used.
        """
        self.url, self.counters, self.fsync = url, Counters(), fsync
        self._key, self._linger, self._timeout, self._deadline = key, max(linger, 0.001), timeout, deadline
        self._on_rejected = on_rejected
        self._spool = Spool(Path(spool), most_bytes=most_bytes, fsync=fsync)
        self._failures, self._most, self._adopted_at = 0, MOST_LINES, 0.0
        self._hurry = asyncio.Event()
        self._idle = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self.door: Door | None = None

    @property
    def queued(self) -> int:
        """How many wait in the spool."""
        return self._spool.queued

    def track(self, kind: str, subject: Subject, data: Mapping[str, Any], **fields: str) -> str | None:
        """Note that something happened, now; its id, or None if it was dropped. Never raises, never waits for Milepost.

        `fields` are others of an action: `sessionId`, `anonymousId`, an `id` or an `at` of your own. Any thread may.
        """
        action = _action(kind, subject, data, fields)
        return action["id"] if self._keep(action, action) else None

    def record(self, action: str, subject: Subject, quantity: int = 1, **data: Any) -> str | None:
        """Something was used: `usage.recorded`, which never fails and may pass a limit."""
        return self.track("usage.recorded", subject, {"action": action, "quantity": quantity, **data})

    def settle(self, action: dict[str, Any], otherwise: dict[str, Any]) -> None:
        """Send a commit soon; if its reservation is not there any more, `otherwise` in its place: one of the two."""
        self._keep({"settle": action, "otherwise": otherwise}, action)
        self.hurry()

    def hurry(self) -> None:
        """Send what waits now. Any thread may."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hurry.set)

    async def start(self) -> None:
        """Take over what others left, and begin to send."""
        self._loop = asyncio.get_running_loop()
        self._adopt()
        self.door = Door(self.url, self._key)
        self._task = asyncio.create_task(self._run(), name="milepost")

    async def flush(self, deadline: float) -> bool:
        """Send all that waits, for `deadline` seconds at most; whether it has all arrived."""
        try:
            async with asyncio.timeout(deadline):
                while self.queued:
                    self._idle.clear()
                    self._hurry.set()
                    await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Flush, and stop. What could not be sent stays in the spool for the next process."""
        if self._task is not None and not self._task.done():
            await self.flush(self._deadline)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.door is not None:
            await self.door.close()
        left = self.queued
        self._spool.close()
        if left:
            logger.warning("%d actions wait in %s for the next process", left, self._spool.folder)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _keep(self, line: dict[str, Any], action: dict[str, Any], *, always: bool = False) -> bool:
        """Into the spool; `action` is what it is about."""
        try:
            text = json.dumps(line, allow_nan=False, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as error:
            return self._drop(action, "no_json", str(error))
        if not self._spool.append(text, always=always):
            return self._drop(action, "spool_full", f"no room in the spool for {len(text)} bytes")
        return True

    def _drop(self, action: dict[str, Any], code: str, message: str) -> bool:
        self.counters.dropped += 1
        self._tell(action, code, message)
        return False

    def _tell(self, action: Any, code: str, message: str) -> None:
        logger.warning("never sent again, %s: %s", code, message)
        if self._on_rejected is not None:
            try:
                self._on_rejected(action, code, message)
            except Exception:  # the caller's own function: its mistake is not ours to end with
                logger.exception("on_rejected")

    async def _run(self) -> None:
        while True:
            try:
                pause = await self._round()
            except Exception:  # the edge of the task: whatever it was, what waits is not given up
                logger.exception("the spool cannot be sent now")
                pause = LONGEST_PAUSE
            await self._sleep(pause)

    async def _sleep(self, seconds: float) -> None:
        """Until then, or until somebody is in a hurry; after failures nobody is. Others always get a turn."""
        if self._failures or not seconds:
            await asyncio.sleep(seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        except TimeoutError:
            return
        self._hurry.clear()

    async def _round(self) -> float:
        """Send one batch; seconds until the next."""
        if time.monotonic() - self._adopted_at >= ADOPT_SECONDS:
            self._adopt()
        batch = self._spool.next(self._most)
        if batch is None:
            self._idle.set()
            return self._linger
        return await self._deliver(batch)

    def _adopt(self) -> None:
        self._adopted_at = time.monotonic()
        self.counters.recovered += self._spool.adopt()

    async def _deliver(self, batch: Batch) -> float:
        assert self.door is not None  # noqa: S101
        settled = {i: line for i, text in enumerate(batch.lines) if (line := _settling(text)) is not None}
        lines = [json.dumps(settled[i]["settle"]).encode() if i in settled else t for i, t in enumerate(batch.lines)]
        wait = SETTLE_WAIT if settled else None
        try:
            verdict = await self.door.send(lines, self._timeout, wait)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return self._failed(f"{type(error).__name__} {error}", None)
        if not verdict.taken:
            return self._untaken(batch, verdict)
        self._settle(settled, verdict)
        self._book(batch, verdict)
        self._most = MOST_LINES
        if verdict.later:
            return self._failed(f"{len(verdict.later)} actions are to come later", verdict.retry_after)
        if self._failures:
            logger.warning("Milepost takes actions again; %d wait", self.queued)
        self._failures = 0
        return 0.0 if len(batch.lines) == MOST_LINES else self._linger

    def _untaken(self, batch: Batch, verdict: Verdict) -> float:
        """The whole request was refused: in parts, if it is the request's fault; later, if not."""
        if not verdict.too_much:
            return self._failed(verdict.message, verdict.retry_after)
        if len(batch.lines) > 1:
            self._most = len(batch.lines) // 2
        else:
            self.counters.rejected += 1
            self._spool.done(batch)
            self._tell(_parsed(batch.lines[0]), "refused", verdict.message)
        return 0.0

    def _settle(self, settled: Mapping[int, dict[str, Any]], verdict: Verdict) -> None:
        """What becomes of commits: they count, something else counts in their place, or nobody knows yet."""
        for index, line in settled.items():
            outcome = verdict.outcomes.get(line["settle"].get("id", ""))
            if index in verdict.rejected or index in verdict.later:
                continue
            if outcome is None:
                verdict.later.add(index)
            elif outcome.get("error") in EXPIRED:
                self._keep(line["otherwise"], line["otherwise"], always=True)
            elif "error" in outcome:
                verdict.rejected[index] = outcome["error"], outcome.get("message", "")

    def _book(self, batch: Batch, verdict: Verdict) -> None:
        """What comes later goes to the end before the batch is done: at no moment is it nowhere."""
        for index in sorted(verdict.later):
            if not self._spool.append(batch.lines[index], always=True):
                verdict.rejected[index] = "spool_full", "the disk is full, and it could not be sent"
        self._spool.done(batch)
        if not self.queued:
            self._idle.set()
        lost = verdict.rejected.keys()
        self.counters.sent += len(batch.lines) - len(lost | verdict.later)
        self.counters.rejected += len(lost)
        self.counters.shed += verdict.shed
        for index in sorted(lost):
            self._tell(_parsed(batch.lines[index]), *verdict.rejected[index])

    def _failed(self, message: str, retry_after: float | None) -> float:
        """How long to pause: twice as long each time, with jitter, and never less than Milepost asks for."""
        self._failures += 1
        if self._failures == 1:
            logger.warning("Milepost takes nothing now, %d wait in %s: %s", self.queued, self._spool.folder, message)
        pause = min(LONGEST_PAUSE, 0.1 * 2 ** min(self._failures, 12))
        return max(min(retry_after or 0.0, LONGEST_RETRY_AFTER), random.uniform(pause / 2, pause))


def new_id() -> str:
    """128 random bits."""
    return os.urandom(16).hex()


def now() -> str:
    """RFC 3339, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _action(kind: str, subject: Subject, data: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    return {"id": new_id(), "kind": kind, "at": now(), **subject.fields(), **fields, "data": data}


def _settling(line: bytes) -> dict[str, Any] | None:
    """A line of `settle`; None for any other, also for a broken one, which Milepost will refuse."""
    parsed = _parsed(line) if line.startswith(b'{"settle":') else None
    return parsed if isinstance(parsed, dict) and {"settle", "otherwise"} <= parsed.keys() else None


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return line.decode(errors="replace")
