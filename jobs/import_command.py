"""`python -m jobs import`: files of actions, through the API."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from db import command
from db.command import run
from db.settings import stop
from db.terminal import console
from jobs import importing, lines, sending
from jobs.checkpoint import Checkpoint


def import_(
    files: Annotated[list[str], typer.Argument(help="NDJSON of actions, plain or gzip; - for standard input")],
    url: Annotated[
        str | None, typer.Option(envvar="MILEPOST_URL", help="the API; default: the one of `make up`")
    ] = None,
    key: Annotated[str | None, typer.Option(envvar="MILEPOST_KEY", help="a service key with the scope ingest")] = None,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="actions in one request")] = 500,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="requests under way at a time")] = 4,
    rejects: Annotated[Path | None, typer.Option(help="where rejected lines go; default: FILE.rejects.ndjson")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="default: import.json in the state folder")] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="begin at the first line, whatever the checkpoint says")
    ] = False,
    compress: Annotated[bool, typer.Option("--gzip", help="send compressed, for a slow line")] = False,
    patience: Annotated[float, typer.Option(min=0, help="seconds to try on while the API takes nothing")] = 300,
) -> None:
    """Import files of actions, one JSON object a line, as POST /v1/actions takes them.

    An import can be repeated and goes on where it was killed. The checkpoint knows what was acknowledged; what is sent
    twice has the same ids (those in the file, else one made of the line) and counts once, if the first copy came within
    MILEPOST_DEDUPE_DAYS (7). After that the checkpoint alone protects: keep it, and do not use --restart.

    Exit code 0: everything is in. 1: some lines were rejected, they are in FILE.rejects.ndjson; or it was broken off.

    Examples: python -m jobs import history.ndjson.gz · zcat a.gz | python -m jobs import - --url https://… --key mp_…
    """
    where, who = command.api(url, key)
    taken = {Path(name).absolute() for name in files}
    if rejects and rejects.absolute() in taken:
        stop(f"--rejects {rejects} is one of the files to import")
    work = _import(files, where, who, (batch, concurrency, patience), (rejects, checkpoint), compress, restart)
    good = run(work, lines.Unreadable, sending.Refused)
    raise typer.Exit(0 if good else 1)


async def _import(
    files: Sequence[str],
    url: str,
    key: str,
    numbers: tuple[int, int, float],
    paths: tuple[Path | None, Path | None],
    compress: bool,
    restart: bool,
) -> bool:
    lines.check(files)
    batch, concurrency, patience = numbers
    async with sending.http(concurrency) as session:
        sender = sending.Sender(session, url, key, compress, patience)
        work = importing.Import(sender, Checkpoint(paths[1]), batch, concurrency, paths[0], restart)
        return await importing.run(work, files, _show)


def _print(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


def _show(total: importing.Total) -> None:
    for reject in total.first:
        _print(f"  line {reject.line}: {reject.code}: {reject.message}")
    if total.was_done:
        _print(f"{total.name}: nothing new behind line {total.resumed_at:,}; --restart sends all again")
    said = f"{total.name}: {total.accepted:,} accepted, {total.rejected:,} rejected"
    if total.resumed_at and not total.was_done:
        said += f" ({total.sent:,} sent now, from behind line {total.resumed_at:,})"
    _print(said + (f", see {total.rejects}" if total.rejected else ""))
    if total.failure:
        sys.stderr.write(f"{total.failure}; the lines before it are in\n")
