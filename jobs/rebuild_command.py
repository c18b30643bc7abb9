"""`python -m jobs rebuild`: the tables of states, folded again from the facts, or compared with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from db import command, connect
from db.command import run
from db.terminal import console
from jobs import rebuild
from jobs.bar import Bar
from jobs.family import Difference


def rebuild_(
    check: Annotated[bool, typer.Option("--check", help="only compare; exit 1 on a difference")] = False,
    limit: Annotated[int, typer.Option(min=0, help="differing rows to print")] = 20,
) -> None:
    """Rebuild every table of states from the facts, or compare. Safe while the API and the workers run.

    What retention has dropped facts of stays as it is, and is counted.

    Examples: python -m jobs rebuild --check · python -m jobs rebuild
    """
    results = run(_rebuild(check, limit), rebuild.Busy)
    for result in results:
        said = f"{result.table}: {result.seen:,} looked at, {result.differing:,} "
        said += "differ" if check else "rebuilt"
        console.print(said + (f", {result.left:,} older than the facts left alone" if result.left else ""))
    raise typer.Exit(1 if check and any(result.differing for result in results) else 0)


async def _rebuild(check: bool, limit: int) -> list[rebuild.Result]:
    settings, shown = command.servers(), 0

    def found(table: str, key: str, differences: Sequence[Difference]) -> None:
        nonlocal shown
        shown += 1
        if shown <= limit:
            for name, kept, rebuilt in differences:
                bar.say(f"{table} {key!r}  {name}: kept {rebuild.shown(kept)}, rebuilt {rebuild.shown(rebuilt)}")

    async with command.postgres() as conn, command.postgres() as other, connect.redis(settings.log_url) as client:
        with Bar("checking" if check else "rebuilding", None, Console(highlight=False, soft_wrap=True)) as bar:
            work = rebuild.Rebuild(conn, other, client, check, found, bar.count)
            return await work.run()
