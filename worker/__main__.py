"""`python -m worker`: one worker process, which drains the log and runs the schedules and jobs of arq."""

from __future__ import annotations

import argparse

import uvloop

from db import log, settings
from worker import process

EXAMPLES = """examples:
  python -m worker
  MILEPOST_DRAIN_CONNECTIONS=8 MILEPOST_METRICS_PORT=9101 python -m worker
Run as many as you like, on as many hosts: the lock on a partition's row says who applies it."""


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m worker",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    loaded = settings.load()
    log.setup(loaded)
    uvloop.run(process.run(loaded))


if __name__ == "__main__":
    main()
