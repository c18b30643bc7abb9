"""`make bench`: every row of docs/performance.md, as ratios measured in one run on this machine.

SCALE=10000000 make bench fills the database with about that many interactions for the rows about size (default
200,000).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from bench import burst, costs, drain, pipe, posts, progress, reads, scale, stage, usage
from bench.peers import run as peers
from bench.rows import Row
from db import embedded
from db.embedded import Urls

EXAMPLES = """examples:
  python -m bench                        everything, a quarter of an hour with the peers
  python -m bench --only single drain    some rows
  SCALE=10000000 python -m bench --only scale
  python -m bench --json figures.json    the figures for docs/performance.md"""
ALL = (
    *("single", "batch", "drain", "freshness", "read", "checklist", "update", "consume"),
    *("costs", "burst", "scale", "peers"),
)


async def measure(urls: Urls, only: list[str], size: int, console: Console) -> list[Row]:
    """The chosen rows, in order."""
    st = await stage.prepare(urls)
    found: list[Row] = []
    steps: dict[str, Any] = {
        "single": lambda: posts.single(st),
        "batch": lambda: posts.batch(st),
        "drain": lambda: drain.drained(st),
        "freshness": lambda: pipe.freshness(st),
        "read": lambda: reads.cached_read(st),
        "checklist": lambda: progress.read(st),
        "update": lambda: progress.waited(st),
        "consume": lambda: usage.consumed(st),
        "costs": lambda: costs.measured(st),
        "burst": lambda: burst.measured(st),
        "scale": lambda: scale.measured(st, size),
        "peers": lambda: _peers(st, console),
    }
    with console.status("measuring …") as status:
        for name in only:
            status.update(f"measuring {name} …")
            if name == "scale":  # it has bars of its own
                status.stop()
            result = await steps[name]()
            status.start()
            for row in result if isinstance(result, tuple) else (result,):
                console.print(f"  {row.what}: {row.ours}" + (f" against {row.theirs}" if row.theirs else ""))
                found.append(row)
    return found


async def _peers(st: stage.Stage, console: Console) -> Row:
    """Install the peers (once), run them, and compare with the best that ran."""
    redis_url = f"{st.urls.redis_url.rsplit('/', 1)[0]}/1"
    results = await peers.measure(st.urls.database_url, redis_url, peers.default_envs())
    console.print(peers.table(results))
    ran = [result for result in results if result.error is None and result.rate]
    if not ran:
        raise RuntimeError("no peer ran: " + "; ".join(f"{result.peer}: {result.error}" for result in results))
    best = max(ran, key=lambda result: result.rate or 0)
    row = await pipe.end_to_end(st, best.rate or 0, best.peer)
    row.detail["peers"] = {result.peer: result.rate or result.error for result in results}
    return row


def shown(found: list[Row]) -> Table:
    """The table of the figures."""
    table = Table(title=f"Milepost on {machine()}", title_justify="left")
    for column in ("what", "ours", "against", "theirs", "ratio", "goal", ""):
        table.add_column(column, overflow="fold")
    for row in found:
        mark = {True: "reached", False: "missed", None: ""}[row.reached]
        table.add_row(row.what, row.ours, row.against, row.theirs, row.result, row.goal, mark)
    return table


def machine() -> str:
    """Cores, Python, kernel: what the figures depend on."""
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"


def main() -> None:
    """Measure, show, and keep the figures where asked."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=ALL, default=list(ALL), help="rows to measure")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    console = Console()
    with embedded.temporary() as urls, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        size = int(os.environ.get("SCALE") or 200_000)
        found = runner.run(measure(urls, arguments.only, size, console))
    console.print(shown(found))
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.encode({"machine": machine(), "rows": found}))


if __name__ == "__main__":
    main()
