"""Migrations up and down (pogo-core on asyncpg): plain SQL, one transaction for all, one runner at a time."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import asyncpg
from pogo_core.error import BadMigrationError
from pogo_core.util import migrate as pogo
from pogo_core.util import sql as pogo_sql

FOLDER: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x6D696C65706F7374
_quiet = logging.getLogger("pogo")
_quiet.setLevel(logging.ERROR)  # it tells every step as a warning


class Failed(Exception):
    """A migration did not run; nothing of it is left behind."""


async def _begin(conn: asyncpg.Connection, lock_seconds: float) -> None:
    # Waiting for another runner may take a while; waiting for a table's lock may not, since others queue behind it.
    await conn.execute("SET LOCAL lock_timeout = '60s'")
    try:
        await conn.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    except asyncpg.LockNotAvailableError:
        raise Failed("another migration has been running for a minute: look at pg_stat_activity") from None
    await conn.execute("SELECT set_config('lock_timeout', $1, true)", f"{lock_seconds * 1000:.0f}ms")


async def status(conn: asyncpg.Connection) -> list[tuple[str, bool]]:
    """(migration, applied) in order."""
    exists = await conn.fetchval("SELECT to_regclass('public._pogo_migration') IS NOT NULL")
    applied = await pogo_sql.get_applied_migrations(conn, schema_name="public") if exists else set()
    return [(path.stem, path.stem in applied) for path in sorted(FOLDER.glob("*.sql"))]


async def up(conn: asyncpg.Connection, *, lock_seconds: float = 5) -> list[str]:
    """Apply what is missing; the names of what was applied now. Safe to run twice and by several at once.

    Raises Failed, also when a table stays locked by others for `lock_seconds`.
    """
    async with conn.transaction():
        await _begin(conn, lock_seconds)
        missing = [name for name, applied in await status(conn) if not applied]
        if missing:
            await _run(pogo.apply(conn, FOLDER, schema_name="public", logger=_quiet))
    return missing


async def down(conn: asyncpg.Connection, to: str | None = None, *, lock_seconds: float = 5) -> list[str]:
    """Undo the newest migration, or all that came after `to` (`0` for all); the names of what was undone."""
    async with conn.transaction():
        await _begin(conn, lock_seconds)
        applied = [name for name, is_applied in await status(conn) if is_applied]
        undone = _after(applied, to)
        if undone:
            await _run(pogo.rollback(conn, FOLDER, schema_name="public", count=len(undone), logger=_quiet))
    return undone[::-1]


def _after(applied: list[str], to: str | None) -> list[str]:
    if to is None:
        return applied[-1:]
    if to == "0":
        return applied
    found = [index for index, name in enumerate(applied) if name == to or name.split("_")[0] == to]
    if not found:
        raise Failed(f"no applied migration {to!r}; there are: {', '.join(applied) or 'none'}")
    return applied[found[0] + 1 :]


async def _run(work: object) -> None:
    try:
        await work  # type: ignore[misc]
    except BadMigrationError as error:
        reason = error.__cause__
        locked = "; others hold a lock on the table" if isinstance(reason, asyncpg.LockNotAvailableError) else ""
        raise Failed(f"{error}: {reason}{locked}") from error
