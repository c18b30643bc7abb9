"""`python -m jobs recalculate`: whether accounts and counters are what the records say; mended when told so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from db import command, connect
from db.command import run
from db.settings import stop
from db.terminal import console
from jobs import rebuild
from jobs.bar import Bar
from jobs.family import Difference
from jobs.usage import facts

SUBJECT: Final = ("user:", "org:")


def recalculate(
    subject: Annotated[str | None, typer.Option(help="one alone: user:ID or org:ID")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="write what the records say")] = False,
    limit: Annotated[int, typer.Option(min=0, help="differences to print")] = 50,
) -> None:
    """Compare what is kept of usage with its records: every account, counter and reservation. Safe beside the workers.

    It is `rebuild --check` of these tables alone, and with --apply their rebuild. What retention has dropped records of
    stays as it is, and is counted.

    Exit code 1: something differs and --apply was not given.

    Examples: python -m jobs recalculate · python -m jobs recalculate --subject user:42 --apply
    """
    if subject is not None and not (subject.startswith(SUBJECT) and subject.partition(":")[2]):
        stop("a subject is user:ID or org:ID")
    found: list[tuple[str, str, Difference]] = []

    def take(table: str, key: str, differences: Sequence[Difference]) -> None:
        found.extend((table, key, one) for one in differences[: limit - len(found)])

    results = run(_work(subject, apply, take), rebuild.Busy)
    _show(found)
    for result in results:
        said = f"{result.table}: {result.seen:,} compared, {result.differing:,} "
        said += "mended" if apply else "differ"
        console.print(said + (f", {result.left:,} older than their records left alone" if result.left else ""))
    raise typer.Exit(1 if not apply and any(result.differing for result in results) else 0)


async def _work(subject: str | None, apply: bool, take: rebuild.Found) -> list[rebuild.Result]:
    settings = command.servers()
    async with command.postgres() as conn, command.postgres() as other, connect.redis(settings.log_url) as client:
        with Bar("recalculating" if apply else "comparing", None) as bar:
            work = rebuild.Rebuild(conn, other, client, not apply, take, bar.count, tables=facts.tables(subject))
            return await work.run()


def _show(found: Sequence[tuple[str, str, Difference]]) -> None:
    if not found:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("subject", "meter", "period from", "field", "kept", "records say"):
        table.add_column(name, overflow="fold")
    for _, key, (name, kept, told) in found:
        subject, action, start = (*key.split(facts.BETWEEN), "", "")[:3]
        row = (subject, action, start, name, rebuild.shown(kept), rebuild.shown(told))
        table.add_row(*map(Text, row))
    console.print(table)
