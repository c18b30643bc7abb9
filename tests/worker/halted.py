"""`python -m tests.worker.halted`: a worker that ends by SIGKILL behind the commit, before it hands deliveries over."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from uuid import UUID

from db import settings
from worker import process
from worker.outbox import Outbox


def _die(_: Outbox, __: Sequence[UUID], ___: str = "") -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    Outbox.put = _die  # type: ignore[method-assign, assignment]
    asyncio.run(process.run(settings.load()))
