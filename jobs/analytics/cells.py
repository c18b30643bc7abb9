"""Rollups: additive counts by measure, time and key, and how what is counted once becomes counts of several grains.

A cell is one number that an answer adds up. What a session counts for (its base) names each time once, at the finest
grain its measure needs; `spread` makes the cells of the coarser ones.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final, Literal, NamedTuple

import msgspec

Grain = Literal["minute", "hour", "day", "week", "all"]
MINUTE, HOUR, DAY, WEEK = 60, 3600, 86_400, 7 * 86_400
_SECONDS: Final[Mapping[Grain, int]] = {"minute": MINUTE, "hour": HOUR, "day": DAY}
MONDAY: Final = 4 * DAY
"""1970-01-05, in seconds: where weeks are counted from."""

KEPT: Final[Mapping[Grain, int]] = {"minute": 2 * HOUR, "hour": 72 * HOUR}
"""How long fine grains are kept, in seconds: longer ranges are answered from days."""

BOT: Final = "bot."
"""Before the measures of what bots' sessions count for: answers leave them out, or add them."""

_GRAINS: Final[Mapping[str, tuple[Grain, ...]]] = {
    "actions": ("minute", "hour", "day"),
    **dict.fromkeys(("next", "left", "funnel", "gap"), ("hour", "day", "week")),
    "choice": ("all",),
    "chosen": ("all",),
    "configuration": ("all",),
    "configured": ("all",),
}
"""By the word before a colon."""
_USUAL: Final[tuple[Grain, ...]] = ("hour", "day")

ACCURACY: Final = 0.01
"""Relative error of a quantile that is read from a histogram."""
_STEP: Final = math.log((1 + ACCURACY) / (1 - ACCURACY))
_SMALLEST: Final = 1e-9
LARGEST: Final = 1e15
"""What is larger counts as this, in histograms and means."""
NAME_MOST: Final = 120
"""Characters of a name that a key holds as they are."""


class Cell(NamedTuple):
    """Where a number stands. `start`: seconds since 1970, UTC, cut to the grain."""

    grain: Grain
    measure: str
    start: int
    key: str


class Count(NamedTuple):
    """`n` of something, and the sum of their values."""

    n: int
    total: Decimal | int = 0


class Base(NamedTuple):
    """One thing that counts: `at` is the minute or hour, in seconds since 1970."""

    measure: str
    at: int
    key: str


def cut(at: float, grain: Grain) -> int:
    """The start of the minute, hour, day or week (Monday) that a time lies in; UTC, seconds since 1970."""
    if grain == "all":
        return 0
    if grain == "week":
        return int((at - MONDAY) // WEEK) * WEEK + MONDAY
    seconds = _SECONDS[grain]
    return int(at // seconds) * seconds


def finest(measure: str, at: float) -> int:
    """The time that a base of this measure names."""
    return cut(at, "minute" if measure == "actions" else "hour")


def spread(counts: Mapping[Base, Count]) -> dict[Cell, Count]:
    """The cells of every measure and grain that follow from these."""
    found: dict[Cell, Count] = {}
    for base, count in counts.items():
        for cell in _cells(base):
            held = found.get(cell)
            found[cell] = count if held is None else Count(held.n + count.n, held.total + count.total)
    return found


# Sessions of an hour have most of theirs in common: a pass took half as long again without.
@lru_cache(maxsize=10_000)
def _cells(base: Base) -> tuple[Cell, ...]:
    measure, at, key = base
    mark = BOT if measure.startswith(BOT) else ""
    return tuple(
        Cell(grain, mark + name, cut(at, grain), own)
        for name, own in _measures(measure.removeprefix(BOT), key)
        for grain in _GRAINS.get(name.partition(":")[0], _USUAL)
    )


def _measures(measure: str, key: str) -> tuple[tuple[str, str], ...]:
    """(measure, key) that one of a session counts in: sums that an answer needs beside the parts have their own."""
    if measure == "choice":
        category, value = map(str, parts(key))
        return ("choice:" + category, value), ("chosen", category)
    if measure == "configuration":
        return (measure, key), ("configured", "")
    if measure == "next":
        return (measure, key), ("left", several(parts(key)[0]))
    return ((measure, key),)


def difference(old: Mapping[Cell, Count], new: Mapping[Cell, Count]) -> dict[Cell, Count]:
    """What has to be added to get from `old` to `new`; nothing where they are equal."""
    found = {cell: _less(count, old[cell]) if cell in old else count for cell, count in new.items()}
    found |= {cell: Count(-n, -total) for cell, (n, total) in old.items() if cell not in new}
    return {cell: count for cell, count in found.items() if count != (0, 0)}


def _less(count: Count, old: Count) -> Count:
    return Count(count.n - old.n, count.total - old.total)


def add(sums: dict[Cell, Count], more: Mapping[Cell, Count]) -> None:
    """Add `more` to `sums`."""
    for cell, count in more.items():
        held = sums.get(cell)
        sums[cell] = count if held is None else Count(held.n + count.n, held.total + count.total)


def is_kept(cell: Cell, now: float) -> bool:
    """Whether a cell is young enough for its grain."""
    longest = KEPT.get(cell.grain)
    return longest is None or cell.start >= cut(now - longest, cell.grain)


def pack(counts: Mapping[Base, Count]) -> bytes:
    """What a session counts for, as it is remembered beside it; totals of sessions are whole numbers."""
    return _pack(sorted((*base, n, int(total)) for base, (n, total) in counts.items()))


def unpack(body: bytes | None) -> dict[Base, Count]:
    """What `pack` packed; None: nothing yet."""
    rows = () if body is None else _unpack(body)
    return {Base(measure, at, key): Count(n, total) for measure, at, key, n, total in rows}


def readable(body: bytes) -> dict[Base, Count] | None:
    """The same; None: it cannot be read."""
    try:
        return unpack(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(list[tuple[str, int, str, int, int]]).decode


def several(*parts: str | int | None) -> str:
    """A key of several parts: a JSON array, since names may hold any character."""
    return msgspec.json.encode(parts).decode()


def parts(key: str) -> list[str | int | None]:
    """What `several` was given."""
    return msgspec.json.decode(key, type=list[str | int | None])


def short(text: str) -> str:
    """A name as keys hold it: an index of Postgres takes 2,700 bytes, escapes included. Long ones stay distinct."""
    if len(text) <= NAME_MOST:
        return text
    return f"{text[:NAME_MOST]}…{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def bucket(value: float) -> int:
    """The bucket of a value: neighbours differ by the factor (1 + a) / (1 - a), a = ACCURACY; 0 holds 0, and those of
    values below 0 are negative. DDSketch's logarithmic mapping (Masson, Rim, Lee, VLDB 2019).
    """
    size = min(abs(value), LARGEST)
    if size < _SMALLEST:
        return 0
    index = math.ceil(math.log(size / _SMALLEST) / _STEP) + 1
    return index if value > 0 else -index


def middle(index: int) -> float:
    """The value that stands for a bucket: within ACCURACY of every value in it."""
    if index == 0:
        return 0.0
    return math.copysign(largest(abs(index)) * (1 - ACCURACY), index)


def largest(index: int) -> float:
    """The largest value of a bucket of values above 0."""
    return _SMALLEST * math.exp((index - 1) * _STEP)


def quantile(histogram: Mapping[int, int], q: float) -> float | None:
    """The value below which `q` (0..1) of the values lie (nearest rank), within ACCURACY; None of nothing."""
    return quantiles(histogram, [q])[0]


def quantiles(histogram: Mapping[int, int], qs: Sequence[float]) -> list[float | None]:
    """Several at once, the smallest first."""
    number = sum(histogram.values())
    found: list[float | None] = []
    passed = 0
    buckets = iter(sorted(histogram.items()))
    index = 0
    for q in qs if number > 0 else ():
        rank = max(1, math.ceil(q * number))
        while passed < rank:
            index, n = next(buckets)
            passed += n
        found.append(middle(index))
    return found or [None] * len(qs)


_PRICES: Final = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80)


def price_bucket(price: float) -> str:
    """The lower bound of a price's bucket: 0 below 10, then ten buckets for each power of ten; mirrored below 0."""
    size = abs(price)
    if size < 10:
        return "0"
    power = 10 ** (len(str(int(size))) - 1)
    lower = max(step * power // 10 for step in _PRICES if step * power // 10 <= size)
    return str(lower if price > 0 else -lower)


def price_end(lower: int) -> int:
    """Where the bucket of this lower bound ends: the next one's begin, farther from 0."""
    size = abs(lower)
    power = 10 ** (len(str(size)) - 1)
    upper = 10 if size < 10 else next(end for step in (*_PRICES, 100) if (end := step * power // 10) > size)
    return upper if lower >= 0 else -upper
