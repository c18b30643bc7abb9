"""The end of background work. A cancel may be swallowed: by redis-py when it meets an answer, by the error of asyncpg's
rollback in its place. So it is asked again until the work is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

AGAIN_SECONDS: Final = 3.0
"""Long enough for work to put its things away: a second cancel would break into that."""
T = TypeVar("T")


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel until the task is over; its failure was its own."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=AGAIN_SECONDS)


async def surely(work: Coroutine[Any, Any, T]) -> T:
    """The work, in a task of its own: a cancel of the caller always ends it, also one that was swallowed before."""
    task = asyncio.create_task(work)
    try:
        if not asked():
            await asyncio.wait([task])
    finally:
        await ended(task)
    return task.result()


def asked() -> bool:
    """Whether the running task was cancelled, even if something swallowed it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
