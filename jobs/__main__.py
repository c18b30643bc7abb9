"""`python -m jobs`: the operators' commands."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from db import command
from db.command import run
from db.terminal import commands, console
from jobs import dead_command, import_command, rebuild_command, status_console
from jobs import status as statuses
from jobs.effects import command as effects_command
from jobs.privacy import command as privacy_command
from jobs.usage import command as usage_command

app = commands(
    "The operators' commands. URLs and keys come from MILEPOST_… or a running `make up` (STATE: its folder).\n"
    "\n"
    "Examples: python -m jobs status · python -m jobs import history.ndjson.gz · python -m jobs dead list"
)
app.add_typer(dead_command.app, name="dead")
app.add_typer(effects_command.app, name="effects")
app.command("export")(privacy_command.export_)
app.command("erase")(privacy_command.erase_)
app.command("recalculate")(usage_command.recalculate)
app.command("import")(import_command.import_)
app.command("rebuild")(rebuild_command.rebuild_)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Show the pipe: servers, partitions, workers, schedules, dead letters, tables.

    Exit code 1 when something is wrong: a server does not answer, no worker lives, a partition lags more than 60 s.

    Examples: python -m jobs status · python -m jobs status --json
    """
    found = run(statuses.read(command.servers()))
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    else:
        status_console.show(found, console)
    raise typer.Exit(1 if found.problems else 0)


if __name__ == "__main__":
    app(prog_name="python -m jobs")
