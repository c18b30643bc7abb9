"""The queue of a process: a file of JSON lines that it alone appends to, so that what is tracked outlives it.

Each process has files of its own and holds a lock (flock) on them; the kernel frees the lock however the process ends.
Whoever finds a file that nobody holds takes it over. A line `{"sent":N}` says that the first N bytes have arrived.
POSIX only, on a local file system.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

logger = logging.getLogger("milepost")

LINE_BYTES: Final = 512 << 10
"""Of one line; Milepost takes 256 KiB of data."""
READ_BYTES: Final = 1 << 20
SEGMENT_BYTES: Final = 8 << 20
"""A file that is larger is closed and followed by another, so that disk is given back while traffic never pauses."""
SENT: Final = b'{"sent":'


@dataclass(slots=True, eq=False)
class Segment:
    """A file whose lock is ours."""

    path: Path
    fd: int
    size: int = 0
    sent: int = 0
    """Everything before has arrived."""
    lines: int = 0
    """How many are still to be sent."""


@dataclass(slots=True)
class Batch:
    """Lines to send, and where they end in their file."""

    segment: Segment
    end: int
    lines: list[bytes]


class Spool:
    """The files of one process. `append` may be called from any thread, the rest from one."""

    def __init__(self, folder: Path, *, most_bytes: int = 256 << 20, fsync: bool = False) -> None:
        """`most_bytes` bounds what waits; `fsync` on every line is for machines that lose power, not processes."""
        self.folder, self.most_bytes, self.fsync = folder, most_bytes, fsync
        self._lock = threading.Lock()
        self._old: list[Segment] = []
        self._closed = False
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._active = self._create()
        self._pid = os.getpid()

    @property
    def queued(self) -> int:
        """Lines that are still to be sent."""
        return self._active.lines + sum(one.lines for one in self._old)

    @property
    def size(self) -> int:
        """On disk."""
        return self._active.size + sum(one.size for one in self._old)

    def append(self, line: bytes, *, always: bool = False) -> bool:
        """Write one line, without its end. False: too long, closed, the spool is full (unless `always`) or the disk."""
        if self._pid != os.getpid():
            self._forked()
        with self._lock:
            if self._closed or len(line) > LINE_BYTES or (self.size + len(line) >= self.most_bytes and not always):
                return False
            if not self._write(self._active, line + b"\n"):
                return False
            self._active.lines += 1
            if self._active.size > SEGMENT_BYTES:
                self._rotate()
            return True

    def next(self, most: int) -> Batch | None:
        """Up to `most` lines, the oldest first; None: everything has arrived."""
        with self._lock:
            for segment in (*self._old, self._active):
                if batch := self._read(segment, most):
                    return batch
                self._finish(segment)
        return None

    def done(self, batch: Batch) -> None:
        """All of a batch has arrived, or will never be taken."""
        with self._lock:
            segment = batch.segment
            segment.sent = batch.end
            segment.lines -= len(batch.lines)
            if segment.lines:
                self._write(segment, b"%b%d}\n" % (SENT, segment.sent))
            else:
                self._finish(segment)

    def adopt(self) -> int:
        """Take over the files that nobody holds; how many lines that is."""
        held = {segment.path for segment in (*self._old, self._active)}
        found = [path for path in sorted(self.folder.glob("*.jsonl")) if path not in held]
        taken = [segment for path in found if (segment := _take(path)) is not None]
        with self._lock:
            self._old[:0] = taken
        return sum(segment.lines for segment in taken)

    def close(self) -> None:
        """Free the locks; a file with lines in it stays for whoever comes next."""
        with self._lock:
            self._closed = True
            for segment in (*self._old, self._active):
                if not segment.lines:
                    segment.path.unlink(missing_ok=True)
                os.close(segment.fd)
            self._old.clear()

    def _create(self) -> Segment:
        while True:
            path = self.folder / f"{time.time_ns()}-{secrets.token_hex(4)}.jsonl"  # older files are sent first
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
            if _locked(fd):
                return Segment(path, fd)
            os.close(fd)  # before it was locked somebody took it over

    def _rotate(self) -> None:
        try:
            fresh = self._create()
        except OSError:
            logger.exception("the spool %s cannot begin another file", self.folder)
        else:
            self._old.append(self._active)
            self._active = fresh

    def _write(self, segment: Segment, data: bytes) -> bool:
        """All or nothing: what a full disk cut short is taken back."""
        try:
            if os.write(segment.fd, data) == len(data):
                segment.size += len(data)
                if self.fsync:
                    os.fsync(segment.fd)
                return True
        except OSError:
            logger.exception("the spool %s cannot be written", segment.path)
        os.ftruncate(segment.fd, segment.size)
        return False

    def _read(self, segment: Segment, most: int) -> Batch | None:
        end, found = segment.sent, list[bytes]()
        while segment.lines and not found and end < segment.size:
            for line in _whole_lines(os.pread(segment.fd, READ_BYTES, end)):
                if len(found) == most:
                    break
                end += len(line)
                if _counts(line):
                    found.append(line[:-1])
        return Batch(segment, end, found) if found else None

    def _finish(self, segment: Segment) -> None:
        """Everything of a file has arrived: the one in use becomes empty, another is removed."""
        if segment is self._active:
            if segment.size:
                os.ftruncate(segment.fd, 0)
                segment.size = segment.sent = segment.lines = 0
        elif segment in self._old:
            self._old.remove(segment)
            segment.path.unlink(missing_ok=True)
            os.close(segment.fd)

    def _forked(self) -> None:
        """The files belong to the parent: a child begins its own."""
        for segment in (*self._old, self._active):
            os.close(segment.fd)
        self._lock = threading.Lock()
        self._old, self._active, self._pid = [], self._create(), os.getpid()


def _locked(fd: int) -> bool:
    """Whether the lock is ours, of a file that is still there: whoever had it in between may have removed it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return os.fstat(fd).st_nlink > 0


def _whole_lines(content: bytes) -> list[bytes]:
    """With their ends; the last one only if it is there up to its end. A piece without any end is one line."""
    lines = [line + b"\n" for line in content.split(b"\n")[:-1]]
    return lines or [content]


def _counts(line: bytes) -> bool:
    """Whether it is for Milepost, and not one of our own marks."""
    return not line.startswith(SENT) and not line.isspace()


def _take(path: Path) -> Segment | None:
    """A file that nobody holds and nobody has removed. What its process was writing when it ended is cut off."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_APPEND)
    except OSError:
        return None
    if not _locked(fd):
        os.close(fd)
        return None
    with open(fd, "rb", closefd=False) as file:
        content = file.read()
    size = content.rfind(b"\n") + 1
    os.ftruncate(fd, size)
    sent = 0
    for line in _whole_lines(content[:size]) if size else ():
        if line.startswith(SENT):
            sent = _offset(line, sent, size)
    lines = sum(map(_counts, _whole_lines(content[sent:size]))) if size > sent else 0
    return Segment(path, fd, size, sent, lines)


def _offset(line: bytes, before: int, size: int) -> int:
    try:
        offset = int(json.loads(line)["sent"])
    except (ValueError, TypeError):
        return before
    return offset if before <= offset <= size else before
