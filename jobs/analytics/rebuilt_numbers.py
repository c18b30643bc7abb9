"""`rollups` made anew and compared, week by week: in memory are the numbers of one week, and those of all time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import asyncpg

from jobs.analytics import cells, recounting, weekly
from jobs.analytics.cells import Cell, Count
from jobs.analytics.recounting import Sums, moment
from jobs.analytics.weekly import READING, Held, Value
from jobs.family import Difference, OfNobody

SHOWN: Final = 50
"""Numbers that are told, when many differ."""
OURS: Final = "rollups"
"""Subject of numbers, which belong to nobody: they are looked at together."""


class Rollups(OfNobody):
    """`rollups`, as one row of everything that differs."""

    name = "rollups"

    async def page(self, conn: asyncpg.Connection, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """One."""
        return [] if after else [("all", OURS)]

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, Sequence[Difference]]:
        """What should differ: nothing."""
        await conn.execute(READING["wait_to_write"])
        return {"all": []}

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, Sequence[Difference]]:
        """What does: of many, some."""
        found: list[Difference] = []
        number = 0
        async for kept, wanted in weekly.pairs(conn, now):
            wrong = _wrong(kept, wanted)
            number += len(wrong)
            found += [(_named(cell), kept.get(cell), wanted.get(cell)) for cell in wrong[: SHOWN - len(found)]]
        more = number - len(found)
        return {"all": [*found, ("(and more)", more, more)] if more else found}

    def differences(
        self, kept: Sequence[Difference] | None, rebuilt: Sequence[Difference] | None, now: datetime
    ) -> Sequence[Difference]:
        """Cell by cell, some of them."""
        return rebuilt or []

    async def save(self, conn: asyncpg.Connection, rows: Sequence[Sequence[Difference]]) -> None:
        """Add the differences, so that what is noted counts once all the same."""
        now = datetime.now(UTC)
        async for kept, wanted in weekly.pairs(conn, now):
            if wrong := _wrong(kept, wanted):
                await _mend(
                    conn, {c: kept[c] for c in wrong if c in kept}, {c: wanted[c] for c in wrong if c in wanted}
                )

    async def delete(self, conn: asyncpg.Connection, keys: Sequence[str]) -> None:
        """Nothing to do: there is one row, which is always rebuilt."""


async def _mend(conn: asyncpg.Connection, kept: Held, wanted: Held) -> None:
    old, new = _counts(kept), _counts(wanted)
    await recounting.save(conn, Sums(cells.difference(old, new), {}), datetime.now(UTC))
    most = [
        (cell.grain, cell.measure, moment(cell.start), cell.key, value[2])
        for cell, value in wanted.items()
        if value[2] != (kept[cell][2] if cell in kept else None)
    ]
    if most:
        await conn.execute(READING["set_most"], *map(list, zip(*most, strict=True)))


def _counts(held: Held) -> dict[Cell, Count]:
    return {cell: Count(n, total) for cell, (n, total, _) in held.items()}


def _named(cell: Cell) -> str:
    return " ".join((cell.grain, cell.measure, moment(cell.start).isoformat(), cell.key))


def _wrong(kept: Held, wanted: Held) -> list[Cell]:
    return [cell for cell in sorted(kept.keys() | wanted.keys()) if not _is_right(kept.get(cell), wanted.get(cell))]


def _is_right(kept: Value | None, rebuilt: Value | None) -> bool:
    """The largest value may be one that was erased."""
    if kept is None or rebuilt is None:
        return kept == rebuilt
    return kept[:2] == rebuilt[:2] and (rebuilt[2] is None or (kept[2] is not None and kept[2] >= rebuilt[2]))
