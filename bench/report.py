"""`python -m bench.report figures.json`: what `python -m bench --json` wrote, into the table of docs/performance.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

import msgspec

from bench.rows import Row

PAGE: Final = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- figures -->\n", "<!-- /figures -->"
ANSWERS, ANSWERS_END = "<!-- answers -->\n", "<!-- /answers -->"
SLOWEST: Final = 20
HEAD: Final = ("what", "ours", "against", "theirs", "ratio", "goal", "")


class Figures(msgspec.Struct):
    """What `python -m bench --json` writes."""

    machine: str
    rows: list[Row]


def table(figures: Figures, held: str = "") -> str:
    """Markdown: the machine, then a line for each row, and what it was compared with.

    Rows of the `held` table that were not measured stay, in their places, unless it is of another machine.
    """
    measured = f"Measured on {figures.machine}."
    rows = _rows(held) if held.startswith(measured) else {}
    for row in figures.rows:
        mark = {True: "reached", False: "missed", None: ""}[row.reached]
        rows[_cell(row.what)] = _line((row.what, row.ours, row.against, row.theirs, row.result, row.goal, mark))
    return "\n".join([measured, "", _line(HEAD), _line(["---"] * len(HEAD)), *rows.values()]) + "\n"


def _rows(held: str) -> dict[str, str]:
    """What a line is about -> the line."""
    lines = [line for line in held.splitlines() if line.startswith("| ")][2:]
    return {line[2:].partition(" | ")[0]: line for line in lines}


def put(page: str, figures: Figures) -> str:
    """The page with these figures between its marks; raises ValueError where they are missing."""
    before, begin, rest = page.partition(BEGIN)
    held, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN.strip()} … {END}")
    return before + begin + table(figures, held) + end + after


def answers(figures: Figures) -> str | None:
    """The SLOWEST answers, a line each; None: they were not measured."""
    found = [row.detail["answers"] for row in figures.rows if "answers" in row.detail]
    if not found:
        return None
    head = ("answer", "range", "p50, ms", "p95, ms", "first, ms")
    lines = [_line([str(cell) for cell in line]) for line in found[-1][:SLOWEST]]
    return "\n".join([_line(head), _line(["---"] * len(head)), *lines]) + "\n"


def put_answers(page: str, table: str) -> str:
    """The page with this table between the marks of the answers; raises ValueError where they are missing."""
    before, begin, rest = page.partition(ANSWERS)
    _, end, after = rest.partition(ANSWERS_END)
    if not begin or not end:
        raise ValueError(f"the page has no {ANSWERS.strip()} … {ANSWERS_END}")
    return before + begin + table + end + after


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def main() -> None:
    """Write the table into the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("figures", type=Path, help="what `python -m bench --json FILE` wrote")
    parser.add_argument("--page", type=Path, default=PAGE, help="default: docs/performance.md")
    arguments = parser.parse_args()
    try:
        figures = msgspec.json.decode(arguments.figures.read_bytes(), type=Figures)
        page = put(arguments.page.read_text(), figures)
        slowest = answers(figures)
        arguments.page.write_text(page if slowest is None else put_answers(page, slowest))
    except (OSError, ValueError) as error:
        sys.exit(f"bench.report: {error}")
    sys.stdout.write(f"{len(figures.rows)} rows into {arguments.page.name}\n")


if __name__ == "__main__":
    main()
