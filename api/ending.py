"""The end of a background task: redis-py may swallow a cancel that meets an answer, so it is asked again."""

from __future__ import annotations

import asyncio
from typing import Any, Final

AGAIN_SECONDS: Final = 0.5


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel until the task is over; its failure was its own."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=AGAIN_SECONDS)
