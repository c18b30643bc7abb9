"""`python -m jobs effects`: what left the house, what waits to, what is dead; retried and discarded."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated
from uuid import UUID

import asyncpg
import typer
from rich.table import Table

from db import command
from db.command import run
from db.settings import stop
from db.terminal import commands, console, printable
from jobs.bar import Bar
from jobs.effects import destinations, history
from jobs.effects.destinations import Invalid
from jobs.effects.history import STATUSES, Filter, OneEffect, Status

app = commands(
    "Effects: webhooks, NATS and analytics events, with the deliveries of each.\n\n"
    "Examples: python -m jobs effects list --status dead · python -m jobs effects retry --all --type usage.*"
)

Ids = Annotated[list[str] | None, typer.Argument(help="ids as `effects list` shows them (msg_…)", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="every one that the filter below means")]
OfStatus = Annotated[str | None, typer.Option("--status", help="those that are " + ", ".join(STATUSES))]
OfType = Annotated[str | None, typer.Option("--type", help="those of a type; usage.* for all that begin so")]
To = Annotated[str | None, typer.Option("--destination", help="those to one destination, by its id")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="at most so many, the newest first")]


@app.command("list")
def list_effects(status: OfStatus = None, type_: OfType = None, destination: To = None, limit: Limit = 50) -> None:
    """List effects, the newest first, with how their deliveries stand.

    Examples: python -m jobs effects list --status dead · python -m jobs effects list --type usage.* --limit 20
    """
    chosen = _filter(status, type_, destination)

    async def work() -> list[OneEffect]:
        async with command.postgres() as conn:
            return (await history.page(conn, chosen, limit))[0]

    _show(run(work()))


@app.command("show")
def show_effects(ids: Annotated[list[str], typer.Argument(help="ids as `effects list` shows them")]) -> None:
    """Print effects as JSON, with every attempt to deliver them.

    Example: python -m jobs effects show msg_2rzh6quua3o2z7ai4lp5g6lgibs
    """

    async def work() -> list[OneEffect]:
        async with command.postgres() as conn:
            return await history.find(conn, ids)

    found = run(work())
    for one in found:
        sys.stdout.write(history.as_json(one) + "\n")
    if len(found) < len(set(ids)):
        stop("there is no such effect" if len(ids) == 1 else f"only {len(found)} of these {len(ids)} exist", 1)


@app.command("retry")
def retry_effects(
    ids: Ids = None, every: All = False, status: OfStatus = None, type_: OfType = None, destination: To = None
) -> None:
    """Deliver again, at once and as if never tried. With --all: those that are dead, unless --status says otherwise.

    Receivers see the same webhook-id again. What goes to a disabled destination is left alone.

    Examples: python -m jobs effects retry msg_2rzh… · python -m jobs effects retry --all --destination 0192f3b0-…
    """
    statuses, chosen = _meant(ids, every, _filter(status, type_, destination), ("dead", "discarded", "pending"))
    done, seen = run(_work("retrying", statuses, chosen, ids, history.retry))
    console.print(f"{done} go again" + (f", {seen - done} cannot: disabled, or under way" if seen > done else ""))
    raise typer.Exit(1 if seen > done or (ids and not seen) else 0)


@app.command("discard")
def discard_effects(
    ids: Ids = None,
    every: All = False,
    status: OfStatus = None,
    type_: OfType = None,
    destination: To = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Put deliveries away. With --all: those that are dead, unless --status pending is given.

    Examples: python -m jobs effects discard msg_2rzh… · python -m jobs effects discard --all --type usage.* --yes
    """
    statuses, chosen = _meant(ids, every, _filter(status, type_, destination), ("dead", "pending"))
    if every and not yes and not typer.confirm(f"Discard every delivery that is {statuses[0]} and fits?"):
        raise typer.Exit(1)
    done, seen = run(_work("discarding", statuses, chosen, ids, history.discard))
    console.print(f"{done} discarded")
    raise typer.Exit(1 if ids and not seen else 0)


async def _work(
    title: str,
    statuses: Sequence[str],
    chosen: Filter,
    ids: Sequence[str] | None,
    change: Callable[[asyncpg.Connection, Sequence[UUID]], Awaitable[int]],
) -> tuple[int, int]:
    """How many were changed, of how many; chunk by chunk, so that breaking it off leaves what is done done."""
    done = seen = 0
    async with command.postgres() as conn:
        total = await history.count(conn, statuses, chosen) if not ids else len(ids)
        with Bar(title, None) as bar:
            async for chunk in history.chosen_deliveries(conn, statuses, chosen, ids or None):
                async with conn.transaction():
                    done += await change(conn, chunk)
                seen += len(chunk)
                bar.count(seen, max(total, seen))
    return done, seen


def _meant(
    ids: Sequence[str] | None, every: bool, chosen: Filter, possible: Sequence[Status]
) -> tuple[Sequence[Status], Filter]:
    """The statuses and the rest of the filter, or the end with a line that says what is wrong."""
    if bool(ids) == every or (ids and chosen != Filter()):
        stop("name the effects, or give --all (and with it --status, --type, --destination, if you like)")
    if chosen.status is not None and chosen.status not in possible:
        stop(f"--status is one of {', '.join(possible)} here")
    return possible if ids else [chosen.status or "dead"], chosen


def _filter(status: str | None, type_: str | None, destination: str | None) -> Filter:
    found = next((one for one in STATUSES if one == status), None)
    if status is not None and found is None:
        stop(f"--status is one of {', '.join(STATUSES)}")
    try:
        if type_ is not None:
            destinations.check_types([type_])
        return Filter(found, type_, UUID(destination) if destination else None)
    except Invalid as error:
        stop(f"--type: {error}")
    except ValueError:
        stop("--destination is the id of a destination, a UUID")


def _show(found: Sequence[OneEffect]) -> None:
    if not found:
        console.print("no effects")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("id", "written", "type", "subject", "status", "deliveries"):
        table.add_column(column, overflow="fold", no_wrap=column == "id")
    for one in found:
        cells = (one.type, one.subject, one.status, _deliveries(one))
        table.add_row(one.id, f"{one.created_at:%Y-%m-%d %H:%M:%S}", *map(printable, cells))
    console.print(table)


def _deliveries(one: OneEffect) -> str:
    return ", ".join(
        f"{held.destination.url or held.destination.id} {held.status} ({held.attempt_count})" for held in one.deliveries
    )
