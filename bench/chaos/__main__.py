"""`python -m bench.chaos`: what `make chaos` runs. Faults, then the account; exit code 1 for a broken guarantee."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.chaos import storm
from bench.chaos.scenarios import SCENARIOS, about
from bench.chaos.system import Violation
from db.server import StartError

STORM = "storm"
HELP = """
Kill and cut everything while it works, then count: acknowledged = applied, exactly once.

`storm` is the long random run; the scenarios look at one fault each. A violation ends with exit code 1, names the
actions concerned, and keeps data and logs.

Examples:

  python -m bench.chaos

  python -m bench.chaos --only storm --kills 200 --seed 7 --json chaos.json

  python -m bench.chaos --only lost_data --only poison --short
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
console = Console(highlight=False)


@app.command(help=HELP)
def main(
    kills: Annotated[int, typer.Option(min=0, help="kills of the random run, times SCALE")] = 50,
    seconds: Annotated[float, typer.Option(min=0, help="least length of the random run")] = 0.0,
    seed: Annotated[int, typer.Option(help="the same seed chooses the same faults and the same actions")] = 0,
    only: Annotated[list[str] | None, typer.Option(help=f"one of: {STORM}, {', '.join(SCENARIOS)}")] = None,
    short: Annotated[bool, typer.Option("--short", help="the scenarios as the tests run them")] = False,
    state: Annotated[Path | None, typer.Option(help="folder for the random run's data and logs, which stays")] = None,
    to_json: Annotated[Path | None, typer.Option("--json", help="write the figures to this file, too")] = None,
) -> None:
    """Run what was asked for, one after the other."""
    names = list(only or (STORM, *SCENARIOS))
    if unknown := [name for name in names if name != STORM and name not in SCENARIOS]:
        raise typer.BadParameter(f"no scenario {', '.join(unknown)}")
    if state is not None and state.exists() and any(state.iterdir()):
        raise typer.BadParameter(f"{state} is not empty")
    plan = storm.Plan(
        kills=round(kills * float(os.environ.get("SCALE") or 1)),
        seconds=seconds,
        seed=seed or int(time.time()),
        folder=state,
    )
    results, violations = _run(names, plan, short)
    _show(results, violations)
    if to_json:
        to_json.write_text(json.dumps({"results": results, "violations": violations}, indent=2, default=str) + "\n")
    sys.exit(1 if violations else 0)


def _run(names: list[str], plan: storm.Plan, short: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """Figures by name, and violations by name."""
    results: dict[str, Any] = {}
    violations: dict[str, str] = {}
    columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[now]}"), console=console) as progress:
        total = len(names) - (STORM in names) or 1
        one = progress.add_task("scenarios", total=total, now="", visible=total > 1 or STORM not in names)
        for name in names:
            try:
                if name == STORM:
                    results[name] = _storm(plan, progress)
                else:
                    progress.update(one, now=name)
                    results[name] = uvloop.run(SCENARIOS[name](short))
            except (Violation, StartError) as error:
                violations[name] = str(error)
            if name != STORM:
                progress.advance(one)
    return results, violations


def _storm(plan: storm.Plan, progress: Progress) -> dict[str, Any]:
    bar = progress.add_task("kills", total=plan.kills, now="")

    def tell(faults: int, kills: int, acknowledged: int) -> None:
        progress.update(bar, completed=kills, now=f"{faults} faults, {acknowledged:,} actions acknowledged")

    return uvloop.run(storm.run(plan, tell))


def _show(results: Mapping[str, Any], violations: Mapping[str, str]) -> None:
    if STORM in results:
        _show_storm(results[STORM])
    scenarios = Table("scenario", "what", "figures", title="Scenarios", title_justify="left")
    for name, figures in results.items():
        if name != STORM:
            scenarios.add_row(name, about(SCENARIOS[name]), _flat(figures))
    if scenarios.row_count:
        console.print(scenarios)
    for name, text in violations.items():
        console.print(f"[bold red]VIOLATION[/] in {name}:")
        console.print(text, markup=False)
    if not violations:
        console.print("[bold green]Everything acknowledged was applied, exactly once.[/]")


def _show_storm(figures: Mapping[str, Any]) -> None:
    console.print(
        f"\n[bold]{figures['kills']} kills, {sum(figures['faults'].values())} faults in {figures['seconds']:.0f} s[/] "
        f"(seed {figures['seed']}): {figures['acknowledged']:,} actions acknowledged, {figures['in Postgres']:,} in "
        f"Postgres, none missing, none twice; all back {figures['all back after']} s after the last fault."
    )
    for title, key in (
        ("Until each partition moved again, in seconds", "takeovers"),
        ("Longest time without an acknowledgement, in seconds", "unavailable"),
    ):
        table = Table("after", "times", "p50", "p95", "max", title=title, title_justify="left")
        for name, summary in figures[key].items():
            table.add_row(name, *(f"{summary[part]:g}" for part in ("count", "p50", "p95", "max")))
        console.print(table)
    console.print(f"people: {_flat(figures['people'])}, each once, as what they did demands")
    console.print(f"answers: {_flat(figures['answers'])}\n")


def _flat(figures: Mapping[str, Any]) -> str:
    return " · ".join(f"{name} {value}" for name, value in figures.items())


if __name__ == "__main__":
    app(prog_name="python -m bench.chaos")
