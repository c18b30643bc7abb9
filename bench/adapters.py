"""Real data as actions: a web server's combined log, NDJSON of actions. What the API does not know is left out.

The ids come from the place in the file: playing it twice changes nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from zlib import crc32

import msgspec

from bench import learning, metering
from bench.traffic import DEVICES, Request, Stretch
from jobs.lines import Reader, Unreadable
from jobs.privacy.addresses import Addresses, private

BATCH: Final = 100
NEEDS_PROGRESS: Final = ("course.enrolled", "lesson.completed")
_encode: Final = msgspec.json.Encoder().encode
_COMBINED: Final = re.compile(
    r'(?P<address>\S+) \S+ \S+ \[(?P<at>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<size>\d+|-) '
    r'"(?P<referrer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)"\s*'
)


class NothingToPlay(Exception):
    """This data cannot be played, or not yet; the message says why."""


class Hit(NamedTuple):
    """One line of a log, by time, then by place in the file."""

    at: datetime
    line: int
    address: str
    agent: str
    method: str
    path: str
    status: int
    size: int | None
    referrer: str


def read(path: Path, kinds: frozenset[str], addresses: Addresses = "hidden") -> Stretch:
    """The actions in a file or folder, for an API that knows these kinds. Raises NothingToPlay.

    `addresses`: what becomes of those of an access log.
    """
    if path.is_dir():
        if (path / learning.COURSES).exists():
            return _courses(path, kinds)
        files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
        if len(files) != 1:
            raise NothingToPlay(f"{path} is no folder of known data: name one file, an access log or NDJSON of actions")
        path = files[0]
    try:
        first = next(_lines(path), "")
        if first.startswith("{"):
            return _ndjson(path)
        if _COMBINED.fullmatch(first):
            return _access_log(path, kinds, addresses)
    except (OSError, EOFError, zlib.error, Unreadable) as error:
        raise NothingToPlay(f"{path} cannot be read: {error}") from None
    raise NothingToPlay(f"{path} is neither an access log in the combined format nor NDJSON of actions")


def _courses(path: Path, kinds: frozenset[str]) -> Stretch:
    missing = [kind for kind in NEEDS_PROGRESS if kind not in kinds]
    if missing:
        raise NothingToPlay(f"course data needs the kinds {' and '.join(missing)}, which this Milepost does not have")
    try:
        return learning.read(path)
    except (OSError, EOFError, zlib.error, KeyError, ValueError) as error:
        raise NothingToPlay(f"{path} cannot be read as course data: {error!r}") from None


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as raw:
        is_gzip = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if is_gzip else path.open("rb") as file:
        for line in file:
            yield line.decode(errors="replace")


def hits(lines: Iterable[str]) -> tuple[list[Hit], list[int]]:
    """The hits of a combined log in the order of time, and the numbers of the malformed lines."""
    found: list[Hit] = []
    malformed: list[int] = []
    for number, line in enumerate(lines, 1):
        hit = _hit(number, line) if line.strip() else None
        if hit is not None:
            found.append(hit)
        elif line.strip():
            malformed.append(number)
    return sorted(found), malformed


def _hit(number: int, line: str) -> Hit | None:
    match = _COMBINED.fullmatch(line)
    if match is None:
        return None
    try:
        at = datetime.strptime(match["at"], "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    method, _, target = match["request"].partition(" ")
    path = target.rpartition(" ")[0] or target
    size = None if match["size"] == "-" else int(match["size"])
    return Hit(
        at, number, match["address"], match["agent"], method, path, int(match["status"]), size, match["referrer"]
    )


def visitor(hit: Hit, key: bytes) -> str:
    """Who it was, as far as a log can tell: one id per address and user agent, from which neither can be guessed."""
    return "web-" + hashlib.blake2b(f"{hit.address} {hit.agent}".encode(), key=key, digest_size=8).hexdigest()


def _access_log(path: Path, kinds: frozenset[str], addresses: Addresses) -> Stretch:
    found, malformed = hits(_lines(path))
    if not found:
        raise NothingToPlay(f"{path} holds no line in the combined format")
    # A log that grows keeps its first line, and so its ids.
    first = next(_lines(path)).encode()
    prefix = f"log-{hashlib.sha256(first).hexdigest()[:12]}-"
    # Who has the log has the addresses; who has the database alone has not even the key.
    key = hashlib.sha256(b"addresses of " + first).digest()
    logged = [(private(hit.address, addresses, key)[:128], visitor(hit, key), hit) for hit in found]
    visitors = len({who for _, who, _ in logged})
    remarks = [
        f"{len(found):,} lines of {path.name}, {found[0].at:%d %b %Y} to {found[-1].at:%d %b %Y}, {visitors:,} visitors"
    ]
    if malformed:
        shown = ", ".join(map(str, malformed[:5])) + (" …" if len(malformed) > 5 else "")
        remarks.append(f"{len(malformed)} malformed line{'s' if len(malformed) > 1 else ''} left out: {shown}")
    example = f"auto:anonymous:{logged[0][1]}@{int(found[0].at.timestamp() * 1000)}"
    stretch = Stretch(f"the access log {path.name}", [], example, remarks)
    is_metered = kinds >= metering.KINDS
    actions = [(one[0], action) for one in logged for action in _of_hit(*one, prefix, is_metered)]
    if is_metered:
        users = [user for user, _, _ in logged]
        actions = [*metering.limits(users, prefix, found[0].at.isoformat()), *actions]
        stretch.metered, stretch.prefix = metering.expected(users), prefix
        remarks.append(metering.TOLD)
    stretch.lanes = _spread(actions)
    return stretch


def _of_hit(user: str, who: str, hit: Hit, prefix: str, is_metered: bool) -> Iterator[dict[str, Any]]:
    head = {"at": hit.at.isoformat(), "anonymousId": who}
    properties = {"method": hit.method[:32], "status": hit.status, "userAgent": hit.agent[:256]}
    page: dict[str, Any] = {"path": hit.path[:2048], "properties": properties}
    if hit.referrer not in ("-", ""):
        page["referrer"] = hit.referrer[:2048]
    yield head | {"id": f"{prefix}{hit.line}-page", "kind": "page.viewed", "data": page}
    if hit.size is not None:
        size = {"metricName": "response_bytes", "value": hit.size, "additionalData": {"status": hit.status}}
        yield head | {"id": f"{prefix}{hit.line}-size", "kind": "metric.recorded", "data": size}
    if is_metered:
        yield metering.call(user, prefix, hit.line, hit.at.isoformat())


def _ndjson(path: Path) -> Stretch:
    """Actions as they are, as `python -m jobs import` would send them."""
    lanes: list[list[tuple[str, bytes]]] = [[] for _ in range(DEVICES)]
    example = ""
    with closing(Reader(str(path))) as reader:
        while True:
            window = reader.window(10_000)
            for line in window.lines:
                given = _head(line.body)
                lanes[line.lane % DEVICES].append((given.id, line.body))
                example = example or given.session_id or ""
            if window.is_last:
                break
    remarks = [f"{sum(map(len, lanes)):,} actions of {path.name}", *([window.failure] if window.failure else [])]
    return Stretch(f"the actions of {path.name}", [_batches(lane) for lane in lanes], example, remarks)


class _Head(msgspec.Struct, rename="camel"):
    id: str = ""
    session_id: str | None = None


def _head(body: bytes) -> _Head:
    try:
        return msgspec.json.decode(body, type=_Head)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Head()


def _spread(actions: Sequence[tuple[str, dict[str, Any]]]) -> list[list[Request]]:
    """An address stays in one lane, and with it its visitors: each in its order."""
    lanes: list[list[tuple[str, bytes]]] = [[] for _ in range(DEVICES)]
    for who, action in actions:
        lanes[crc32(who.encode()) % DEVICES].append((action["id"], _encode(action)))
    return [_batches(lane) for lane in lanes]


def _batches(lane: Sequence[tuple[str, bytes]]) -> list[Request]:
    parts = [lane[start : start + BATCH] for start in range(0, len(lane), BATCH)]
    return [Request([body for _, body in part], [action_id for action_id, _ in part]) for part in parts]
