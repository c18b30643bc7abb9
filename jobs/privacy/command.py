"""`python -m jobs export` and `erase`: what is held of somebody, and its end."""

from __future__ import annotations

import asyncio
import gzip
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Final

import msgspec
import typer
from rich.console import Console

from db import command, connect
from db.command import run
from db.settings import stop
from jobs import rebuild
from jobs.action import is_id
from jobs.bar import Bar
from jobs.privacy import export, orders, receipts
from jobs.privacy.erasure import Unreadable

User = Annotated[str | None, typer.Option("--user", help="the id of a user")]
Org = Annotated[str | None, typer.Option("--org", help="the id of an organisation")]
LOOK_SECONDS: Final = 0.5
File = Annotated[str, typer.Argument(help="where it goes, compressed if it ends with .gz; - for standard output")]


def export_(file: File = "-", user: User = None, org: Org = None) -> None:
    """Write everything that is held of a user or an organisation: a line of JSON for each row of each table.

    The last line is of the table `end`, and says how many there are: without it, it was broken off.
    What the log still holds unapplied is not among it: see `python -m jobs status`.

    Examples: python -m jobs export --user ann ann.ndjson.gz · python -m jobs export --org acme
    """
    if (user is None) == (org is None):
        stop("name one: --user ID or --org ID")
    _check(user or org or "")
    number = run(_export(file, user, org))
    Console(stderr=True, highlight=False).print(f"{number:,} rows")


async def _export(file: str, user: str | None, org: str | None) -> int:
    settings, number = command.servers(), 0
    async with command.postgres() as conn, connect.redis(settings.log_url) as client:
        with _opened(file) as out, Bar("exporting", None) as bar:
            async for table, line in export.lines(conn, client, user, org):
                out.write(line.encode() + b"\n")
                number += table != export.END
                bar.show(number, f"{number:,} rows, {table}")
    return number


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    """A file appears under its name when it is whole, for nobody else to read."""
    if file == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.touch(mode=0o600)
        with draft.open("wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(path.stem, "wb", fileobj=raw) as packed, io.BufferedWriter(packed) as out:
                    yield out
            else:
                yield raw
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def erase_(
    user: Annotated[str, typer.Option("--user", help="the id of the user")],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Erase a user: facts, states, effects, dead letters, read models. Prints the receipt, which does not name them.

    From then on whatever comes of them is dropped. An erasure that was broken off goes on when it is run again; else a
    worker carries it to its end. One at a time works on it: where somebody does, this command waits for the receipt.

    Example: python -m jobs erase --user ann --yes
    """
    _check(user)
    if not yes and not typer.confirm("Erase everything that is held of this user? It cannot be taken back."):
        raise typer.Exit(1)
    receipt = run(_erase(user))
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(receipt), indent=2).decode() + "\n")


async def _erase(user: str) -> receipts.Receipt:
    settings = command.servers()
    async with command.postgres() as conn, connect.redis(settings.log_url) as client:
        ordered = await receipts.order(conn, user)
        with Bar("erasing", None) as bar:
            while (found := await receipts.find(conn, ordered)) is not None and found.done_at is None:
                held = await orders.claim(conn, ordered)
                if held is None:
                    bar.show(0, "somebody else does it: waiting")
                    await asyncio.sleep(LOOK_SECONDS)
                    continue
                try:
                    await orders.carry_out(settings, client, held, lambda words: bar.show(0, words))
                except (rebuild.Busy, Unreadable) as error:
                    stop(f"{error}; a worker goes on, or run it again", 1)
                except orders.Lost:
                    continue
    if found is None:
        raise LookupError(ordered)
    return found


def _check(given: str) -> None:
    if not is_id(given):
        stop("an id is text of 1 to 128 characters without control characters")
