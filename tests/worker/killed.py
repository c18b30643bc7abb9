"""`python -m tests.worker.killed`: for each line `<number> <when>` on stdin, a drain that ends by SIGKILL at a command.

The commands to Postgres and Redis are counted where the clients send them. `before`: the command was never sent;
`sent`: it was, and nobody read the answer. The drain is a fork, so that it starts at once; each answer is one line:
`killed`, or `done` when the log was empty before the number was reached.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from asyncpg.connection import Connection
from redis.asyncio.connection import AbstractConnection

from db import connect, ending
from db.settings import Settings
from tests.worker.rig import Rig, until
from worker import drain

POSTGRES = ("execute", "_execute", "_copy_in")


class Counter:
    """Ends this process at one command."""

    def __init__(self, number: int, when: str) -> None:
        self.left, self.when = number, when

    async def around(self, send: Callable[[], Awaitable[Any]], *, waits: bool) -> Any:
        """Count, and send; `waits`: the call returns with the answer, not when it is sent."""
        self.left -= 1
        if self.left:
            return await send()
        if self.when == "sent":
            task = asyncio.ensure_future(send())
            for _ in range(20 if waits else 1):
                await asyncio.sleep(0)
            if not waits:
                await task
        os.kill(os.getpid(), signal.SIGKILL)
        return None


def count(number: int, when: str) -> None:
    """Put a counter around everything that is sent."""
    counter = Counter(number, when)

    def wrap(owner: type, name: str, *, waits: bool) -> None:
        original = getattr(owner, name)

        async def counted(self: object, *args: object, **kwargs: object) -> Any:
            return await counter.around(lambda: original(self, *args, **kwargs), waits=waits)

        setattr(owner, name, counted)

    for name in POSTGRES:
        wrap(Connection, name, waits=True)
    wrap(AbstractConnection, "send_packed_command", waits=False)


async def run() -> None:
    """Drain until nothing is left."""
    settings = Settings(_env_file=None)
    server = connect.Server()
    client = connect.redis(settings.log_url, server=server)
    pool = await drain.pool(settings)
    looking = connect.redis(settings.log_url)
    task = asyncio.create_task(drain.Drain(settings, pool, client, server).run())
    rig = Rig(settings, pool, looking, server)
    await until(rig.is_done, "all is applied and trimmed")
    await ending.ended(task)


async def _whole(work: Callable[[], Awaitable[None]]) -> None:
    await work()


def main(work: Callable[[], Awaitable[None]] = run) -> None:
    """One fork for each line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # the drain's own lines
    for line in sys.stdin:
        number, when = line.split()
        child = os.fork()
        if child == 0:
            count(int(number), when)
            asyncio.run(_whole(work))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        answers.write({0: "done", -signal.SIGKILL: "killed"}.get(code, f"failed {code}") + "\n")


if __name__ == "__main__":
    main()
