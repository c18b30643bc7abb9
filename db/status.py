"""`python -m db status`: migrations, partitions, tables and their days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
from rich.console import Console
from rich.table import Table

from db import migrate, partitions, sql

QUERIES = sql.read("status")


@dataclass(frozen=True, slots=True)
class Status:
    """What a database holds; without migrations there is nothing but them."""

    database: asyncpg.Record
    migrations: list[tuple[str, bool]]
    partitions: list[asyncpg.Record]
    tables: list[asyncpg.Record]


async def read(conn: asyncpg.Connection) -> Status:
    """Read it all in one snapshot."""
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        migrations = await migrate.status(conn)
        is_new = not any(applied for _, applied in migrations)
        return Status(
            await conn.fetchrow(QUERIES["database"]),
            migrations,
            [] if is_new else await conn.fetch(partitions.QUERIES["positions"]),
            await conn.fetch(QUERIES["tables"]),
        )


def show(status: Status, console: Console) -> None:
    """Print it."""
    database = status.database
    console.print(f"{database['name']}: PostgreSQL {database['version']}, {database['size']}", highlight=False)
    _print(
        console,
        "migrations",
        ("migration", "state"),
        [(n, "applied" if a else "missing") for n, a in status.migrations],
    )
    rows = [(row["id"], f"{row['position_ms']}-{row['position_seq']}", row["applied_at"]) for row in status.partitions]
    _print(console, "partitions", ("partition", "position", "applied at"), rows)
    columns = ("name", "days", "first_day", "last_day", "rows", "size")
    _print(console, "tables", columns, [tuple(row[column] for column in columns) for row in status.tables])


def _print(console: Console, title: str, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows or [("none", *[""] * (len(columns) - 1))]:
        table.add_row(*(_cell(value) for value in row))
    console.print(table)


def _cell(value: object) -> str:
    return "" if value is None else f"{value:%Y-%m-%d %H:%M:%S}" if hasattr(value, "strftime") else str(value)
