"""`python -m jobs import`: files of actions through the public API, in order for each subject, to be repeated safely.

A window of lines is read, spread over lanes by subject, sent, acknowledged, and then the checkpoint moves behind it.
Killed in between, the window is sent once more with the same ids, which count once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from jobs.bar import Bar
from jobs.checkpoint import Checkpoint, Mark
from jobs.lines import MAX_LINE, STDIN, Line, Place, Reader, Unreadable, Window
from jobs.sending import Sender

SHOWN: Final = 10


class Reject(msgspec.Struct, omit_defaults=True):
    """One line of the file of rejects."""

    line: int
    code: str
    message: str
    id: str | None = None
    path: str | None = None
    action: str = ""


class Rejects:
    """The file of rejects: cut to what the checkpoint knows at the start, made when there is something to write."""

    def __init__(self, path: Path, keep: int) -> None:
        self.path, self.bytes = path, keep
        if path.exists():
            with path.open("r+b") as file:
                self.bytes = file.truncate(min(keep, path.stat().st_size))
            if not self.bytes:
                path.unlink()

    def write(self, rejects: Sequence[Reject]) -> None:
        """Add these."""
        if rejects:
            with self.path.open("ab") as file:
                file.writelines(msgspec.json.encode(reject) + b"\n" for reject in rejects)
                self.bytes = file.tell()


@dataclass(slots=True)
class Total:
    """What came of one file, what earlier runs did included; `sent` lines of this run."""

    name: str
    accepted: int = 0
    rejected: int = 0
    sent: int = 0
    place: Place = field(default_factory=Place)
    resumed_at: int = 0
    was_done: bool = False
    failure: str | None = None
    rejects: Path | None = None
    first: list[Reject] = field(default_factory=list)


@dataclass(slots=True)
class Import:
    """One run of the command. `batch`: actions in a request at most; `lanes`: requests under way at most."""

    sender: Sender
    checkpoint: Checkpoint
    batch: int = 500
    lanes: int = 4
    rejects: Path | None = None
    restart: bool = False

    async def file(self, name: str, keep: int | None = None) -> Total:
        """Import one file. Raises Unreadable and sending.Refused; the checkpoint then says how far it came."""
        mark = None if self.restart else self.checkpoint.load(name, self.sender.url)
        reader, mark = await asyncio.to_thread(_opened, name, mark)
        with closing(reader):
            path = self.rejects or Path(f"{'stdin' if name == STDIN else name}.rejects.ndjson")
            rejects = Rejects(path, (mark.rejects_bytes if mark else 0) if keep is None else keep)
            total = Total(name, rejects=path)
            if mark is not None:
                total.accepted, total.rejected, total.place = mark.accepted, mark.rejected, mark.place
                total.resumed_at = mark.place.lines
            with Bar(Path(name).name, reader.size) as bar:
                self.sender.say = bar.say
                await self._windows(reader, rejects, total, bar)
            total.was_done = total.resumed_at > 0 and not total.sent
        return total

    async def _windows(self, reader: Reader, rejects: Rejects, total: Total, bar: Bar) -> None:
        started = time.monotonic()
        most = self.batch * self.lanes
        window = await asyncio.to_thread(reader.window, most)
        while True:
            following = None if window.is_last else asyncio.create_task(asyncio.to_thread(reader.window, most))
            try:
                found = await self._send(window)
            except BaseException:
                if following is not None:
                    await asyncio.wait([following])  # its thread reads from a file that is about to be closed
                raise
            _count(total, window, found)
            await asyncio.to_thread(self._keep, rejects, total, found, done=window.is_last and not window.failure)
            rate = total.sent / max(1e-3, time.monotonic() - started)
            bar.show(window.read, f"{total.place.lines:,} lines  {rate:,.0f}/s  {total.rejected:,} rejected")
            if following is None:
                return
            window = await following

    async def _send(self, window: Window) -> list[Reject]:
        """All lines of a window; the rejects in the order of the file."""
        lanes: list[list[Line]] = [[] for _ in range(self.lanes)]
        for line in window.lines:
            lanes[line.lane % self.lanes].append(line)
        sent = [asyncio.create_task(self._lane(lane)) for lane in lanes if lane]
        try:
            parts = await asyncio.gather(*sent)
        finally:
            for task in sent:
                task.cancel()
        long = [
            Reject(number, "too_large", f"a line of more than {MAX_LINE} bytes, or no line breaks")
            for number in window.too_long
        ]
        return sorted([*long, *(reject for part in parts for reject in part)], key=lambda reject: reject.line)

    async def _lane(self, lines: Sequence[Line]) -> list[Reject]:
        """One after the other, so that the actions of a subject arrive as they stand in the file."""
        found: list[Reject] = []
        for start in range(0, len(lines), self.batch):
            part = lines[start : start + self.batch]
            answer = await self.sender.post([line.body for line in part])
            for no in answer.rejected:
                line = part[no.index]
                found.append(
                    Reject(
                        line.number, no.code, no.message, no.id, no.path, line.body.decode(errors="backslashreplace")
                    )
                )
        return found

    def _keep(self, rejects: Rejects, total: Total, found: Sequence[Reject], *, done: bool) -> None:
        rejects.write(found)
        done_at = datetime.now(UTC).isoformat(timespec="seconds") if done else None
        mark = Mark(total.name, self.sender.url, total.place, total.accepted, total.rejected, rejects.bytes, done_at)
        self.checkpoint.save(total.name, mark)


def _count(total: Total, window: Window, found: Sequence[Reject]) -> None:
    number = len(window.lines) + len(window.too_long)
    total.sent += number
    total.accepted += number - len(found)
    total.rejected += len(found)
    total.first += found[: SHOWN - len(total.first)]
    total.place, total.failure = window.place, window.failure


def _opened(name: str, mark: Mark | None) -> tuple[Reader, Mark | None]:
    """The file behind the place of its mark; without the mark when another file stands there by now."""
    reader = Reader(name)
    if mark is None or mark.place == Place() or reader.skip(mark.place):
        return reader, mark
    reader.close()
    if name == STDIN:
        raise Unreadable("what comes in is not what the checkpoint knows: name another checkpoint, or --restart")
    return Reader(name), None


async def run(work: Import, names: Sequence[str], told: Callable[[Total], None]) -> bool:
    """All files, one after the other; whether everything went in."""
    good, keep = True, None
    if work.rejects is not None:
        marks = [None if work.restart else work.checkpoint.load(name, work.sender.url) for name in names]
        keep = max(mark.rejects_bytes if mark else 0 for mark in marks)
    for name in names:
        total = await work.file(name, keep)
        if keep is not None and total.rejects is not None:
            keep = total.rejects.stat().st_size if total.rejects.exists() else 0
        good = good and not total.failure and not total.rejected
        told(total)
    return good
