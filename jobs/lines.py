"""Files of actions, line by line: NDJSON, plain or gzip, in flat memory, each line with an id that stays the same."""

from __future__ import annotations

import gzip
import hashlib
import os
import sqlite3
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple
from zlib import crc32

import msgspec

from jobs.action import Draft
from jobs.families import KINDS

STDIN: Final = "-"
MAX_LINE: Final = 1 << 20
"""Bytes of one line: four times what `data` of an action may have."""
MAX_READ: Final = 8 << 20
"""Bytes of lines in one window, whatever their number."""
_GZIP: Final = b"\x1f\x8b"
_draft: Final = msgspec.json.Decoder(Draft)


class Unreadable(Exception):
    """A file that cannot be read, or not to its end; the message says which and why."""


class Line(NamedTuple):
    """One line: its number in the file from 1, its bytes with an id in them, and what keeps its subject in order."""

    number: int
    body: bytes
    lane: int


class Place(msgspec.Struct, frozen=True):
    """How far a file was read, and the SHA-256 of all of that: lines, bytes after inflating."""

    lines: int = 0
    bytes: int = 0
    digest: str = ""


class Window(msgspec.Struct):
    """The next lines; `too_long` are numbers of lines beyond MAX_LINE; `failure`: the file ends too early."""

    lines: list[Line]
    too_long: list[int]
    place: Place
    read: int
    is_last: bool = False
    failure: str | None = None


class Ordinals:
    """How often the same line came before in its file. Exact, in flat memory: SQLite moves it to disk when it grows."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA cache_size = -65536")
        self._db.execute("CREATE TABLE seen (line BLOB PRIMARY KEY, times INT) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def next(self, digest: bytes) -> int:
        """0 for the first line with this digest, 1 for the second."""
        found = self._db.execute(
            "INSERT INTO seen VALUES (?, 0) ON CONFLICT (line) DO UPDATE SET times = times + 1 RETURNING times",
            (digest,),
        )
        return int(found.fetchone()[0])

    def close(self) -> None:
        """Throw it away."""
        self._db.close()


class Reader:
    """One file, or standard input as `-`, from its start or from a place that was reached before."""

    def __init__(self, name: str) -> None:
        """Raises Unreadable."""
        self.name = name
        self.size: int | None = None
        self._raw = sys.stdin.buffer if name == STDIN else self._open(Path(name))
        first = self._raw.peek(2)[:2] if hasattr(self._raw, "peek") else b""
        self._file: Any = gzip.GzipFile(fileobj=self._raw) if first == _GZIP else self._raw
        self._hash = hashlib.sha256()
        self._lines = self._bytes = 0
        self._ordinals = Ordinals()

    def _open(self, path: Path) -> Any:
        try:
            file: IO[bytes] = path.open("rb")
            if path.is_file():
                self.size = path.stat().st_size
            return file
        except OSError as error:
            raise Unreadable(f"{path}: {error.strerror}") from None

    def close(self) -> None:
        """Close the file."""
        self._ordinals.close()
        if self.name != STDIN:
            self._raw.close()

    @property
    def place(self) -> Place:
        """How far it was read."""
        return Place(self._lines, self._bytes, self._hash.hexdigest())

    def skip(self, place: Place) -> bool:
        """Read up to a place; False when the file is not what was read then: open it anew."""
        try:
            while self._bytes < place.bytes and (line := self._next()) is not None:
                self._identified(line)
        except (OSError, EOFError, zlib.error):
            return False
        return self.place == place

    def window(self, most: int) -> Window:
        """The next `most` lines. What was read before a failure is in it."""
        found = Window([], [], self.place, 0)
        started = self._bytes
        try:
            while len(found.lines) < most and self._bytes - started < MAX_READ:
                line = self._next()
                if line is None:
                    found.is_last = True
                    break
                if len(line) > MAX_LINE:
                    found.too_long.append(self._lines)
                elif named := self._identified(line):
                    found.lines.append(named)
        except (OSError, EOFError, zlib.error) as error:
            found.is_last, found.failure = True, f"{self.name} cannot be read behind line {self._lines}: {error}"
        found.place, found.read = self.place, self._position()
        return found

    def _next(self) -> bytes | None:
        """One line as it stands; of a longer one than MAX_LINE its first part, the rest is passed over."""
        line: bytes = self._file.readline(MAX_LINE + 1)
        if not line:
            return None
        self._take(line)
        rest = line
        while len(line) > MAX_LINE and rest and not rest.endswith(b"\n"):
            rest = self._file.readline(MAX_LINE)
            self._take(rest)
        self._lines += 1
        return line

    def _take(self, part: bytes) -> None:
        self._hash.update(part)
        self._bytes += len(part)

    def _identified(self, line: bytes) -> Line | None:
        body = line.strip()
        if self._lines == 1:
            body = body.removeprefix(b"\xef\xbb\xbf")
        if not body:
            return None
        digest = hashlib.sha256(body).digest()[:16]
        ordinal = self._ordinals.next(digest)
        try:
            draft = _draft.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return Line(self._lines, body, 0)  # the API says what is wrong with it
        if draft.id is None:
            draft.id = f"line-{digest.hex()}-{ordinal}"
            body = with_id(body, draft.id)
        return Line(self._lines, body, crc32(_subject(draft).encode(errors="replace")))

    def _position(self) -> int:
        try:
            return int(self._raw.tell())
        except OSError:
            return self._bytes


def with_id(body: bytes, action_id: str) -> bytes:
    """A JSON object with this id put to its end, where it outdoes an `"id": null` before it."""
    comma = b"," if body[1:-1].strip() else b""
    return b'%b%b"id":"%b"}' % (body[:-1], comma, action_id.encode())


def _subject(draft: Draft) -> str:
    """What the order of its actions matters to, as far as this version knows the kind."""
    kind = KINDS.get(draft.kind)
    found = kind.subject(draft) if kind is not None else None
    return found or draft.session_id or draft.user_id or draft.org_id or draft.anonymous_id or ""


def check(names: Sequence[str]) -> None:
    """Whether all of these can be read; raises Unreadable before anything is sent. None is opened: it may be a pipe."""
    for name in names:
        path = Path(name)
        if name == STDIN:
            continue
        if path.is_dir():
            raise Unreadable(f"{name} is a folder: name the files in it")
        if not path.exists():
            raise Unreadable(f"there is no {name}")
        if not os.access(path, os.R_OK):
            raise Unreadable(f"{name}: permission denied")
