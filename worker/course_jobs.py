"""What courses leave to the schedule: those that changed, and those that nobody has described."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from jobs.courses import recompute, undescribed
from worker.context import Context


async def recompute_courses(ctx: Context) -> str:
    """A `course.changed` for every user of the courses that changed; the next tick goes on where one broke off."""
    return f"{await recompute.run(ctx['pool'], datetime.now(UTC))} written"


async def look_up(ctx: Context) -> str:
    """Ask for what waits, and let its actions come again; without NATS the catalog decides of what is left."""
    return f"{await undescribed.run(ctx['pool'], ctx['lookups'], datetime.now(UTC))} asked for"


async def stop_asking(ctx: dict[Any, Any]) -> None:
    """The worker ends: close the connection to NATS."""
    if (lookups := ctx["lookups"]) is not None:
        await lookups.close()
