"""`python -m bench.scaling`: the tables of docs/scaling.md, from what an action costs each part (bench/costs.json).

With a file that `python -m bench --only costs scale --json FILE` wrote, its costs are kept and the page is written
anew.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from bench import backlog
from bench.backlog import Pause, Service, Span
from bench.costs import Costs
from bench.report import Figures

KEPT: Final = Path(__file__).parent / "costs.json"
PAGE: Final = Path(__file__).parents[1] / "docs" / "scaling.md"
VOLUMES: Final = (1e6, 100e6, 10e9)
"""Actions a day."""
PEAK: Final = 5.0
"""The busiest second against the mean."""
BUSY: Final = 0.5
"""Of a core or a process, at the busiest second: the rest is what makes up for a pause."""
RECKONED: Final = 3.0
"""Times that a session is reckoned for the rollups: passes are seconds apart, and it lasts for minutes."""
CORES: Final = 16
"""Of a Postgres node."""
NODE: Final = 16 * 2**30
"""Bytes of a Redis node that may wait."""
OUTAGE: Final = 3600.0
"""Seconds without Postgres, at the busiest second's rate."""
DAY: Final = 86_400.0


class Need(NamedTuple):
    """One line of the table: what, the arithmetic in words, and its value for so many actions a day."""

    what: str
    reckoned: str
    value: Callable[[Costs, float], str]


def costs_table(costs: Costs) -> str:
    """What an action costs each part."""
    rolled = RECKONED / costs.per_session
    lines = [
        ("API process, one action a request", f"{costs.api_single:.1f} us"),
        ("API process, in batches of 100", f"{costs.api_batch:.1f} us"),
        ("Redis, taken in alone, 64 requests at once", f"{costs.redis_single:.1f} us"),
        ("Redis, taken in in batches of 100", f"{costs.redis_batch:.1f} us"),
        ("Redis, read by the drain, models, trim", f"{costs.redis_drain:.1f} us"),
        ("worker, drain", f"{costs.worker:.1f} us"),
        ("Postgres, drain", f"{costs.postgres:.1f} us"),
        ("worker, one reckoning of a session", f"{costs.roll_worker:.0f} us"),
        ("Postgres, one reckoning of a session", f"{costs.roll_postgres:.0f} us"),
        (
            f"worker, rollups: {RECKONED:.0f} reckonings of a session for {costs.per_session} actions",
            f"{costs.roll_worker * rolled:.1f} us",
        ),
        ("Postgres, rollups: the same", f"{costs.roll_postgres * rolled:.1f} us"),
        ("Redis, memory while it waits", f"{costs.waiting_bytes:.0f} bytes"),
        ("Postgres, write-ahead log", f"{costs.wal_bytes:.0f} bytes"),
        ("Postgres, fact with its indexes", f"{costs.fact_bytes:.0f} bytes"),
        ("Postgres, a session's rows with their indexes", f"{costs.session_bytes:.0f} bytes"),
    ]
    return _table(("an action, or a session where it says so", "measured"), lines)


def peak(volume: float) -> float:
    """Actions in the busiest second."""
    return PEAK * volume / DAY


def _processes(microseconds: Callable[[Costs], float]) -> Callable[[Costs, float], str]:
    return lambda costs, volume: f"{math.ceil(peak(volume) * microseconds(costs) / 1e6 / BUSY):,}"


def _worker(costs: Costs) -> float:
    return costs.worker + RECKONED * costs.roll_worker / costs.per_session


def _postgres(costs: Costs) -> float:
    return costs.postgres + RECKONED * costs.roll_postgres / costs.per_session


def passes_top(costs: Costs) -> float:
    """Actions a second whose sessions the rollups of one installation keep up with: one pass runs at a time."""
    return costs.per_session / RECKONED / ((costs.roll_worker + costs.roll_postgres) / 1e6)


def _waiting(costs: Costs, volume: float) -> float:
    return peak(volume) * OUTAGE * costs.waiting_bytes


def _kept(costs: Costs, volume: float, days: float) -> float:
    return volume * days * (costs.fact_bytes + costs.session_bytes / costs.per_session)


NEEDS: Final = (
    Need("actions in the mean second", "a day / 86,400", lambda _, volume: f"{volume / DAY:,.0f}"),
    Need("in the busiest second", f"{PEAK:.0f} times the mean", lambda _, volume: f"{peak(volume):,.0f}"),
    Need("API processes, one action a request", "peak x API / busy", _processes(lambda costs: costs.api_single)),
    Need("API processes, batches of 100", "peak x API / busy", _processes(lambda costs: costs.api_batch)),
    Need("worker processes", "peak x (drain + rollups) / busy", _processes(_worker)),
    Need(
        "Redis nodes, by CPU",
        "peak x (alone + drain) / busy",
        _processes(lambda costs: costs.redis_single + costs.redis_drain),
    ),
    Need(
        "memory for an hour without Postgres",
        "peak x 3,600 x waiting",
        lambda costs, volume: _size(_waiting(costs, volume)),
    ),
    Need(
        "Redis nodes, by that memory",
        "/ 16 GiB",
        lambda costs, volume: f"{math.ceil(_waiting(costs, volume) / NODE):,}",
    ),
    Need("Postgres cores", "peak x (drain + rollups) / busy", _processes(_postgres)),
    Need(
        f"Postgres nodes of {CORES} cores",
        f"/ {CORES}",
        lambda costs, volume: f"{math.ceil(peak(volume) * _postgres(costs) / 1e6 / BUSY / CORES):,}",
    ),
    Need(
        "installations, by their one pass at a time",
        "peak x (rollups of worker and Postgres) / 1 s",
        lambda costs, volume: f"{math.ceil(peak(volume) / passes_top(costs)):,}",
    ),
    Need(
        "write-ahead log, busiest second",
        "peak x log",
        lambda costs, volume: f"{_size(peak(volume) * costs.wal_bytes)}/s",
    ),
    Need("disk a month", "30 days x (fact + session / actions)", lambda costs, v: _size(_kept(costs, v, 30))),
    Need("disk for 90 days of facts", "3 months", lambda costs, v: _size(_kept(costs, v, 90))),
)


def needs_table(costs: Costs) -> str:
    """What each volume needs, with the arithmetic."""
    head = ("needed", "reckoned as", *(_words(volume) + " a day" for volume in VOLUMES))
    return _table(head, [(n.what, n.reckoned, *(n.value(costs, volume) for volume in VOLUMES)) for n in NEEDS])


SERVICE: Final = Service(0.005, 1e-5 - 1e-6, 5000)
"""One worker process with a core of its own: 100,000 a second in full batches, 5 ms for a small one."""
BURSTS: Final[Sequence[tuple[str, Sequence[Span], Sequence[Pause]]]] = (
    ("a steady 20,000 a second", [Span(60, 20_000)], ()),
    ("a steady 50,000", [Span(60, 50_000)], ()),
    ("50,000, and 150,000 for ten seconds", [Span(20, 50_000), Span(10, 150_000), Span(60, 50_000)], ()),
    ("20,000, and a minute without Postgres", [Span(180, 20_000)], (Pause(30, 90),)),
    ("50,000, and a minute without Postgres", [Span(240, 50_000)], (Pause(30, 90),)),
    ("80,000, and a minute without Postgres", [Span(480, 80_000)], (Pause(30, 90),)),
)


def bursts_table() -> str:
    """What waits, for how long, and when it is made up for."""
    lines = []
    for name, spans, pauses in BURSTS:
        found = backlog.simulated(spans, SERVICE, pauses)
        later = "" if found.caught_up is None else f"{found.caught_up - pauses[-1].end:.1f} s later"
        lines.append((name, f"{found.peak:,.0f}", f"{_long(found.p50)}", f"{_long(found.p99)}", later))
    return _table(("arrivals", "waiting at most", "p50 until applied", "p99", "caught up"), lines)


def _long(seconds: float) -> str:
    return f"{1e3 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _words(volume: float) -> str:
    return f"{volume / 1e9:,.0f} billion" if volume >= 1e9 else f"{volume / 1e6:,.0f} million"


def _size(number: float) -> str:
    """With three digits, in powers of 1,024."""
    power = min(int(math.log(max(number, 1), 1024)), 5)
    return f"{number / 1024**power:.3g} {('bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB')[power]}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def put(page: str, costs: Costs) -> str:
    """The page with these tables between their marks; raises ValueError where those are missing."""
    for mark, table in (("costs", costs_table(costs)), ("needs", needs_table(costs)), ("bursts", bursts_table())):
        before, begin, rest = page.partition(f"<!-- {mark} -->\n")
        _, end, after = rest.partition(f"<!-- /{mark} -->")
        if not begin or not end:
            raise ValueError(f"the page has no <!-- {mark} --> … <!-- /{mark} -->")
        page = before + begin + table + end + after
    return page


def told(figures: Figures) -> Costs:
    """The costs among the figures of a bench; what a filled database says of sessions in life goes before."""
    details = [row.detail for row in figures.rows]
    (found,) = [detail["costs"] for detail in details if "costs" in detail]
    lived = [detail["in_life"] for detail in details if "in_life" in detail]
    return msgspec.convert(found | (lived[0] if lived else {}), Costs)


def kept() -> Costs:
    """The costs that the page is made of."""
    return msgspec.json.decode(KEPT.read_bytes(), type=Costs)


def main() -> None:
    """Keep what was measured, if it is given; write the page; show the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument(
        "figures", type=Path, nargs="?", help="what `python -m bench --only costs scale --json FILE` wrote"
    )
    arguments = parser.parse_args()
    try:
        if arguments.figures:
            figures = msgspec.json.decode(arguments.figures.read_bytes(), type=Figures)
            costs = told(figures)
            KEPT.write_bytes(msgspec.json.format(msgspec.json.encode(costs)) + b"\n")
        costs = kept()
        PAGE.write_text(put(PAGE.read_text(), costs))
    except (OSError, ValueError) as error:
        sys.exit(f"bench.scaling: {error}")
    sys.stdout.write("\n".join((costs_table(costs), needs_table(costs), bursts_table())))


if __name__ == "__main__":
    main()
