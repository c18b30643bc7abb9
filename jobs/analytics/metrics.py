"""Metrics as histograms: reckoned from the rows of a batch, added up by hour and day.

Metrics need no order and never change, so a batch's own rows are all that has to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from jobs.analytics.cells import LARGEST, Cell, Count, Grain, bucket, cut, several

BY_PATH: Final = ("api_response_time", "api_error")
"""Metrics that are kept by the `path` of their additional data, too, as the measure `path:` and the name.

`called:` and the name has the values of each path as one number, which ranks them: clients may name any number.
"""
PLACES: Final = Decimal("0.000001")
"""Sums are exact to a millionth: they are the same in whatever order they were added."""
PATH_MOST: Final = 200

Noted = tuple[str, str, int, int, int, str, float]
"""Name, path, minute, bucket, n, sum, largest."""
_noted: Final = msgspec.json.Decoder(list[Noted])
_GRAINS: Final[tuple[Grain, ...]] = ("hour", "day")
_OURS: Final[tuple[Grain, ...]] = ("minute", "hour", "day")
"""Of the API's own: how fast it is now."""
_PATHS: Final[tuple[Grain, ...]] = ("hour", "day", "week")


class _Data(msgspec.Struct):
    path: str = ""


_data: Final = msgspec.json.Decoder(_Data)


def path_of(name: str, data: str | None) -> str:
    """The path that a metric is kept by; '' for those that are not."""
    if data is None or name not in BY_PATH:
        return ""
    try:
        return _data.decode(data).path.partition("?")[0][:PATH_MOST]
    except msgspec.ValidationError:
        return ""


def noted(rows: Iterable[Sequence[Any]], sign: int = 1) -> bytes:
    """A batch's metrics (name, value, additional data, at) as they are noted; `sign`: -1 takes them back."""
    found: dict[tuple[str, str, int, int], list[Any]] = {}
    for name, value, data, at in rows:
        key = (name, path_of(name, data), cut(at.timestamp(), "minute"), bucket(value))
        exact = exactly(value)
        held = found.get(key)
        if held is None:
            found[key] = [sign, sign * exact, value]
        else:
            held[0] += sign
            held[1] += sign * exact
            held[2] = max(held[2], value)
    return msgspec.json.encode([(*key, n, str(total), most) for key, (n, total, most) in found.items()])


def exactly(value: float) -> Decimal:
    """As it is added up."""
    return Decimal(repr(max(-LARGEST, min(value, LARGEST)))).quantize(PLACES)


def add(counts: dict[Cell, Count], most: dict[Cell, float], bodies: Sequence[str | bytes]) -> None:
    """Add what batches noted: a histogram for each metric by hour and day, and for each path of some."""
    for body in bodies:
        for name, path, minute, index, n, total, largest in _noted.decode(body):
            for cell in _cells(name, path, minute, index):
                held = counts.get(cell, Count(0))
                counts[cell] = Count(held.n + n, held.total + Decimal(total))
                if n > 0:
                    most[cell] = max(most.get(cell, largest), largest)


def _cells(name: str, path: str, minute: int, index: int) -> Iterator[Cell]:
    for grain in _OURS if name in BY_PATH else _GRAINS:
        yield Cell(grain, "metric:" + name, cut(minute, grain), str(index))
    for grain in _PATHS if path else ():
        yield Cell(grain, "path:" + name, cut(minute, grain), several(path, index))
        yield Cell(grain, "called:" + name, cut(minute, grain), several(path))
