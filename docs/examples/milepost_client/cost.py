"""`python -m milepost_client.cost`: what a call of `track` costs, in microseconds; Milepost need not run."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from milepost_client.client import Client, Subject, new_id, now

SUBJECT = Subject(user_id="ada")
DATA = {"action": "DIAGRAM_UPLOAD", "quantity": 1, "resourceId": "diagram-7"}


def microseconds(call: Callable[[], object], calls: int, rounds: int = 9) -> tuple[float, float]:
    """(of the processor, of the clock): medians over rounds of the mean of a round."""
    busy, passed = [], []
    for _ in range(rounds):
        begin, clock = time.process_time(), time.perf_counter()
        for _ in range(calls):
            call()
        busy.append((time.process_time() - begin) / calls * 1e6)
        passed.append((time.perf_counter() - clock) / calls * 1e6)
    return statistics.median(busy), statistics.median(passed)


def encode() -> bytes:
    """What `track` does without the file."""
    action = {"id": new_id(), "kind": "usage.recorded", "at": now(), **SUBJECT.fields(), "data": DATA}
    return json.dumps(action, allow_nan=False, separators=(",", ":")).encode()


async def measure(folder: Path, calls: int) -> None:
    """Print a line for each case. Nothing is sent: the client is not started."""
    print(f"{'':24}{'processor':>11}{'clock':>9}  us a call; median of 9 rounds of {calls}")
    print("{:24}{:11.1f}{:9.1f}".format("an action as JSON", *microseconds(encode, calls)))
    for name, fsync, number in (("track", False, calls), ("track, fsync", True, max(1, calls // 100))):
        client = Client("http://127.0.0.1:1", "", folder / name, fsync=fsync)
        found = microseconds(lambda one=client: one.track("usage.recorded", SUBJECT, DATA), number)  # type: ignore[misc]
        print("{:24}{:11.1f}{:9.1f}".format(name, *found))
        await client.close()


def main() -> None:
    """Measure in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser(prog="milepost_client.cost", description="What a call of track costs.")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; else one for temporary files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        asyncio.run(measure(Path(folder), options.calls))


if __name__ == "__main__":
    main()
