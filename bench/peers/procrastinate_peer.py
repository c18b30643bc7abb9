"""procrastinate: one job per event, the queue in Postgres itself."""

import asyncio
import functools
from collections.abc import Sequence
from typing import Any

import asyncpg
from procrastinate import App, PsycopgConnector
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from bench.peers import harness

CONFIG = harness.configure({"concurrency": 20, "pool": 10, "queue_pool": 4, "batch": 500, "check": 0, "autocommit": 1})
harness.use_uvloop()


def queue_pool(**arguments: Any) -> AsyncConnectionPool:
    """procrastinate asks its connections whether they live before every statement: a round trip that a bench saves."""
    if not CONFIG.settings["check"]:
        del arguments["check"]
    return AsyncConnectionPool(**arguments)


async def configure(connection: AsyncConnection) -> None:
    """Each of procrastinate's calls is one statement: BEGIN and COMMIT around it would be two more round trips."""
    await connection.set_autocommit(bool(CONFIG.settings["autocommit"]))


APP = App(
    connector=PsycopgConnector(
        pool_factory=queue_pool,
        conninfo=CONFIG.database_url,
        min_size=CONFIG.settings["queue_pool"],
        max_size=CONFIG.settings["queue_pool"],
        configure=configure,
    )
)


@functools.cache
def rows_pool() -> asyncio.Task[asyncpg.Pool]:
    """The pool for the rows, made once by the first job: procrastinate's worker has no start hook."""
    return asyncio.create_task(harness.connect_pool(CONFIG))


@APP.task(name="store")
async def store(event: harness.Event) -> None:
    pool = await rows_pool()
    await pool.execute(harness.INSERT, *harness.row(event))


async def prepare() -> None:
    async with APP.open_async():
        await APP.schema_manager.apply_schema_async()


async def enqueue(events: Sequence[harness.Event]) -> None:
    size = CONFIG.settings["batch"]
    async with APP.open_async():
        for first in range(0, len(events), size):
            await store.batch_defer_async(*({"event": event} for event in events[first : first + size]))


WORKER = [
    "-m", "procrastinate", "--app", "bench.peers.procrastinate_peer.APP", "--log-level", "warning",
    "worker", "--concurrency", str(CONFIG.settings["concurrency"]), "--delete-jobs", "successful",
]  # fmt: skip

if __name__ == "__main__":
    harness.main(harness.Peer("procrastinate", ("procrastinate",), WORKER, enqueue, prepare), CONFIG)
