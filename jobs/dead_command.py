"""`python -m jobs dead`: dead letters, listed, shown, retried, discarded."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Annotated
from uuid import UUID

import asyncpg
import typer
from rich.table import Table

from db import appending, command, connect, promises
from db.command import run
from db.settings import stop
from db.terminal import commands, console, printable
from jobs import dead, dead_filter
from jobs.dead_filter import Filter

app = commands(
    "Dead letters: actions that could not be applied, with the reason.\n\n"
    "Examples: python -m jobs dead list · python -m jobs dead retry --all --code poison"
)

Ids = Annotated[list[str] | None, typer.Argument(help="ids as `dead list` shows them", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="every open letter")]
Code = Annotated[str | None, typer.Option(help="with --all: those of one code only")]
OfKind = Annotated[str | None, typer.Option("--kind", help="with --all: those of one kind only")]
OfFamily = Annotated[str | None, typer.Option("--family", help="with --all: those of one family only")]


@app.command("list")
def list_letters(
    every: Annotated[bool, typer.Option("--all", help="those retried or discarded, too")] = False,
    limit: Annotated[int, typer.Option(min=1, help="at most so many, the oldest first")] = 100,
) -> None:
    """List the open dead letters.

    Example: python -m jobs dead list --limit 20
    """

    async def work() -> list[asyncpg.Record]:
        async with command.postgres() as conn:
            rows: list[asyncpg.Record] = await conn.fetch(dead.QUERIES["list_dead_letters"], every, limit)
            return rows

    _show(run(work()))


def _show(rows: Sequence[asyncpg.Record]) -> None:
    """A line for each letter, and how many there are of each code."""
    if not rows:
        console.print("no dead letters")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("id", "died", "code", "kind", "subject", "state", "reason"):
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    for row in rows:
        state = "retried" if row["retried_at"] else "discarded" if row["discarded_at"] else "open"
        cells = (row["code"], row["kind"], row["subject"], state, row["message"])
        table.add_row(str(row["id"]), f"{row['dead_at']:%Y-%m-%d %H:%M:%S}", *map(printable, cells))
    console.print(table)
    counts = Counter(row["code"] for row in rows)
    console.print(", ".join(f"{number} {code}" for code, number in counts.most_common()), markup=False)


@app.command("show")
def show_letter(ids: Annotated[list[str], typer.Argument(help="ids as `dead list` shows them")]) -> None:
    """Print dead letters with their actions as JSON.

    Example: python -m jobs dead show 0192f3b0-…
    """

    async def work() -> list[asyncpg.Record]:
        async with command.postgres() as conn:
            rows: list[asyncpg.Record] = await conn.fetch(dead.QUERIES["show_dead_letters"], _uuids(ids))
            return rows

    rows = run(work())
    for row in rows:
        sys.stdout.write(dead.as_json(row) + "\n")
    if len(rows) < len(set(ids)):
        stop("there is no such dead letter" if len(ids) == 1 else f"only {len(rows)} of these {len(ids)} exist", 1)


@app.command("retry")
def retry_letters(
    ids: Ids = None, every: All = False, code: Code = None, kind: OfKind = None, family: OfFamily = None
) -> None:
    """Send dead letters through the pipe again, as the same actions: what was applied already counts once.

    Examples: python -m jobs dead retry 0192f3b0-… · python -m jobs dead retry --all --code unknown_kind
    """
    done = run(_retry(_chosen(ids, every, Filter(code, kind, family))), promises.Misconfigured, appending.Unavailable)
    for letter, reason in done.refused[:20]:
        sys.stderr.write(f"{letter} {reason}\n")
    console.print(f"{done.sent} sent again, {len(done.refused)} cannot be")
    if not done.sent and not done.refused:
        console.print("none of these is open" if ids else "there is no open dead letter")
    raise typer.Exit(1 if done.refused or (ids and done.sent < len(set(ids))) else 0)


async def _retry(chosen: Callable[[asyncpg.Connection], AsyncIterator[list[UUID]]]) -> dead.Retried:
    settings = command.servers()
    async with command.postgres() as conn, connect.redis(settings.log_url) as client:
        return await dead.retry(conn, client, settings, chosen(conn))


@app.command("discard")
def discard_letters(
    ids: Ids = None,
    every: All = False,
    code: Code = None,
    kind: OfKind = None,
    family: OfFamily = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Put dead letters away; they stay in the table until somebody deletes them.

    Examples: python -m jobs dead discard 0192f3b0-… · python -m jobs dead discard --all --code undecodable --yes
    """
    which = Filter(code, kind, family)
    chosen = _chosen(ids, every, which)
    if every and not yes:
        typer.confirm(f"Discard every open dead letter{_of(which)}?", abort=True)

    async def work() -> int:
        async with command.postgres() as conn:
            return await dead.discard(conn, chosen(conn))

    number = run(work())
    console.print(f"{number} discarded")
    raise typer.Exit(1 if ids and number < len(set(ids)) else 0)


def _chosen(
    ids: Sequence[str] | None, every: bool, which: Filter
) -> Callable[[asyncpg.Connection], AsyncIterator[list[UUID]]]:
    if bool(ids) == every or (any(which) and not every):
        stop("name the letters, or give --all (and with it --code, --kind, --family, if you like)")
    if which.family not in {None, *dead_filter.FAMILY_NAMES}:
        stop(f"--family is one of {', '.join(dead_filter.FAMILY_NAMES)}")
    if not ids:
        return lambda conn: dead_filter.found(conn, which)
    wanted = _uuids(ids)

    async def these(_: asyncpg.Connection) -> AsyncIterator[list[UUID]]:
        yield wanted

    return these


def _of(which: Filter) -> str:
    return "".join(f" of {name} {value}" for name, value in which._asdict().items() if value is not None)


def _uuids(ids: Sequence[str]) -> list[UUID]:
    try:
        return [UUID(one) for one in ids]
    except ValueError:
        stop("an id is a UUID, as `python -m jobs dead list` shows it")
