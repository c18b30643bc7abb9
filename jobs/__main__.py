"""`python -m jobs`: the operators' commands."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import UUID

import asyncpg
import msgspec
import typer
from rich.console import Console

from db import appending, command, connect, promises
from db.command import run
from db.settings import Settings, stop
from db.terminal import commands, console
from jobs import dead, dead_filter, importing, lines, rebuild, sending, status_console
from jobs import status as statuses
from jobs.bar import Bar
from jobs.checkpoint import Checkpoint
from jobs.dead_filter import Filter
from jobs.effects import command as effects_command
from jobs.family import Difference
from jobs.privacy import command as privacy_command
from jobs.usage import command as usage_command

T = TypeVar("T")

app = commands(
    "The operators' commands. URLs and keys come from MILEPOST_… or a running `make up` (STATE: its folder).\n"
    "\n"
    "Examples: python -m jobs status · python -m jobs import history.ndjson.gz · python -m jobs dead list"
)
letters = commands(
    "Dead letters: actions that could not be applied, with the reason.\n\n"
    "Examples: python -m jobs dead list · python -m jobs dead retry --all --code poison"
)
app.add_typer(letters, name="dead")
app.add_typer(effects_command.app, name="effects")
app.command("export")(privacy_command.export_)
app.command("erase")(privacy_command.erase_)
app.command("recalculate")(usage_command.recalculate)

Ids = Annotated[list[str] | None, typer.Argument(help="ids as `dead list` shows them", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="every open letter")]
Code = Annotated[str | None, typer.Option(help="with --all: those of one code only")]
OfKind = Annotated[str | None, typer.Option("--kind", help="with --all: those of one kind only")]
OfFamily = Annotated[str | None, typer.Option("--family", help="with --all: those of one family only")]


@app.command("import")
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
    good = run(
        _told(_import(files, where, who, (batch, concurrency, patience), (rejects, checkpoint), compress, restart))
    )
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
        return await importing.run(work, files, _show_import)


def _print(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


def _show_import(total: importing.Total) -> None:
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


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Show the pipe: servers, partitions, workers, schedules, dead letters, tables.

    Exit code 1 when something is wrong: a server does not answer, no worker lives, a partition lags more than 60 s.

    Examples: python -m jobs status · python -m jobs status --json
    """
    found = run(statuses.read(_settings()))
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    else:
        status_console.show(found, console)
    raise typer.Exit(1 if found.problems else 0)


@letters.command("list")
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

    dead.show(run(work()), console)


@letters.command("show")
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


@letters.command("retry")
def retry_letters(
    ids: Ids = None, every: All = False, code: Code = None, kind: OfKind = None, family: OfFamily = None
) -> None:
    """Send dead letters through the pipe again, as the same actions: what was applied already counts once.

    Examples: python -m jobs dead retry 0192f3b0-… · python -m jobs dead retry --all --code unknown_kind
    """
    done = run(_told(_retry(_chosen(ids, every, Filter(code, kind, family)))))
    for letter, reason in done.refused[:20]:
        sys.stderr.write(f"{letter} {reason}\n")
    console.print(f"{done.sent} sent again, {len(done.refused)} cannot be")
    if not done.sent and not done.refused:
        console.print("none of these is open" if ids else "there is no open dead letter")
    raise typer.Exit(1 if done.refused or (ids and done.sent < len(set(ids))) else 0)


async def _retry(chosen: Callable[[asyncpg.Connection], AsyncIterator[list[UUID]]]) -> dead.Retried:
    settings = _settings()
    async with command.postgres() as conn, connect.redis(settings.log_url) as client:
        return await dead.retry(conn, client, settings, chosen(conn))


@letters.command("discard")
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


@app.command("rebuild")
def rebuild_(
    check: Annotated[bool, typer.Option("--check", help="only compare; exit 1 on a difference")] = False,
    limit: Annotated[int, typer.Option(min=0, help="differing rows to print")] = 20,
) -> None:
    """Rebuild every table of states from the facts, or compare. Safe while the API and the workers run.

    What retention has dropped facts of stays as it is, and is counted.

    Examples: python -m jobs rebuild --check · python -m jobs rebuild
    """
    results = run(_told(_rebuild(check, limit)))
    for result in results:
        said = f"{result.table}: {result.seen:,} looked at, {result.differing:,} "
        said += "differ" if check else "rebuilt"
        console.print(said + (f", {result.left:,} older than the facts left alone" if result.left else ""))
    raise typer.Exit(1 if check and any(result.differing for result in results) else 0)


async def _rebuild(check: bool, limit: int) -> list[rebuild.Result]:
    settings, shown = _settings(), 0

    def found(table: str, key: str, differences: Sequence[Difference]) -> None:
        nonlocal shown
        shown += 1
        if shown <= limit:
            for name, kept, rebuilt in differences:
                bar.say(f"{table} {key!r}  {name}: kept {_value(kept)}, rebuilt {_value(rebuilt)}")

    async with command.postgres() as conn, command.postgres() as other, connect.redis(settings.log_url) as client:
        with Bar("checking" if check else "rebuilding", None, Console(highlight=False, soft_wrap=True)) as bar:
            work = rebuild.Rebuild(conn, other, client, check, found, bar.count)
            return await work.run()


def _value(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def _settings() -> Settings:
    """The settings with the URLs of both servers, or the end."""
    found = command.settings()
    if not found.database_url or not found.log_url:
        stop(
            "no servers: set MILEPOST_DATABASE_URL and MILEPOST_REDIS_URL, or start both with make up (STATE=.milepost)"
        )
    return found


async def _told(work: Awaitable[T]) -> T:
    """What goes wrong on purpose becomes one line."""
    try:
        return await work
    except (lines.Unreadable, sending.Refused, promises.Misconfigured, appending.Unavailable, rebuild.Busy) as error:
        stop(str(error), 1)


if __name__ == "__main__":
    app(prog_name="python -m jobs")
