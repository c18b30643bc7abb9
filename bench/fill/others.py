"""The states of the other families, in proportion to the people: what their answers read.

They are written as states alone, without the facts that they would come of.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from db import sql
from jobs.onboarding import days
from jobs.onboarding.days import QUERIES as BEGUN
from jobs.usage import periods

QUERIES: Final = sql.load((Path(__file__).parent / "others.sql").read_text())


async def fill(conn: asyncpg.Connection, people: int, now: datetime, moved: Callable[[int, str], None]) -> None:
    """So many people, over the 90 days before `now`; the day partitions are there."""
    rules = msgspec.json.encode(periods.DEFAULT).decode()
    for done, (name, query) in enumerate(QUERIES.items()):
        moved(done, name)
        arguments = [people, now, rules] if name == "usage_accounts" else [people, now]
        await conn.execute(query, *arguments, timeout=900)
    moved(len(QUERIES), "onboarding_days")
    # Postgres plans for what it knows: of tables just filled it knows nothing.
    await conn.execute("ANALYZE onboarding_progress, onboarding_actions")
    begun = await conn.fetch(BEGUN["page_onboarding_days"], date.min, 1 << 30)
    await days.save(conn, [row["day"] for row in begun])
