"""`python -m api`: one API process. Several may share a port (SO_REUSEPORT)."""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import signal

import uvloop
from aiohttp import web

from api import app, front
from db import log, partitions, promises
from db.settings import Settings, load, stop

EXAMPLES = """examples:
  python -m api
  MILEPOST_PORT=9000 MILEPOST_REDIS_URL=redis://127.0.0.1:6379 MILEPOST_DATABASE_URL=postgresql://… python -m api"""


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m api", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    settings = load()
    if not settings.database_url or not settings.redis_url:
        stop("api: set MILEPOST_DATABASE_URL and MILEPOST_REDIS_URL, or run `make up`, which starts both")
    log.setup(settings)
    uvloop.run(serve(settings))


async def serve(settings: Settings) -> None:
    """Listen, and finish what is under way when told to stop."""
    runner = front.Runner(app.make(settings), access_log=None, keepalive_timeout=75, shutdown_timeout=10)
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    _raise_limit()
    # What is loaded lives on, and requests leave few cycles: the default collects after every 700 objects.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    try:
        await runner.setup()
        site = web.TCPSite(runner, settings.host, settings.port, reuse_port=True, backlog=1024)
        await site.start()
    except (promises.Misconfigured, partitions.Mismatch) as error:
        stop(f"api: {error}")
    except OSError as error:
        stop(f"api: cannot listen on {settings.host}:{settings.port}: {error.strerror or error}")
    log.get("api").info("listening", url=f"http://{settings.host}:{settings.port}")
    await stopped.wait()
    await runner.cleanup()


def _raise_limit() -> None:
    """Each connection needs a file: take what the system allows, of which processes are given a part at first."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (ValueError, OSError):
        return  # not allowed here; the part will do


if __name__ == "__main__":
    main()
