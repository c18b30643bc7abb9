"""The rows that are kept of a user's checklist: read and written, a query for each table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import asyncpg
import msgspec

from db import sql
from jobs.onboarding.checklist import Checklist, Closed, Done, Qualified

QUERIES: Final = sql.read("onboarding")


def model_name(user_id: str) -> str:
    """The read model of a user's checklist."""
    return f"onboarding:{user_id}"


async def load(conn: asyncpg.Connection, users: Sequence[str]) -> dict[str, Checklist]:
    """The checklists of those of these users who have one."""
    found: dict[str, Checklist] = {}
    for row in await conn.fetch(QUERIES["load_onboarding_actions"], users):
        _of(found, row).actions[row["action"]] = Done(*row[2:])
    for row in await conn.fetch(QUERIES["load_onboarding_progress"], users):
        _of(found, row).steps[row["step"]] = Closed(*row[2:])
    for row in await conn.fetch(QUERIES["load_onboarding_organizations"], users):
        _of(found, row).organizations[row["org_id"]] = Qualified(*row[2:])
    return found


def _of(found: dict[str, Checklist], row: asyncpg.Record) -> Checklist:
    user: str = row["user_id"]
    if user not in found:
        found[user] = Checklist(user)
    return found[user]


async def save(conn: asyncpg.Connection, changed: Sequence[Checklist]) -> None:
    """One upsert for each table, ordered by key, so that two writers can never wait for each other."""
    for query, rows in (
        ("save_onboarding_actions", [(c.user_id, name, row) for c in changed for name, row in c.actions.items()]),
        ("save_onboarding_progress", [(c.user_id, name, row) for c in changed for name, row in c.steps.items()]),
        ("save_onboarding_organizations", [(c.user_id, n, row) for c in changed for n, row in c.organizations.items()]),
    ):
        if rows:
            ordered = [(user, name, *msgspec.structs.astuple(row)) for user, name, row in sorted(rows, key=_place)]
            await conn.execute(QUERIES[query], *map(list, zip(*ordered, strict=True)))


def _place(row: tuple[str, str, Any]) -> tuple[str, str]:
    return row[:2]
