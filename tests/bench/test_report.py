"""The table of docs/performance.md: measured rows take their places, the others stay."""

from __future__ import annotations

import pytest

from bench import report
from bench.report import Figures
from bench.rows import Row

PAGE = f"before\n{report.BEGIN}{report.END}\nafter\n"


def figures(machine: str, **measured: str) -> Figures:
    return Figures(machine, [Row(what, "the | other", ">= 1", ours, "2", "3", True) for what, ours in measured.items()])


def shown(page: str) -> list[tuple[str, str]]:
    """(what, ours) of the table's rows, in order."""
    lines = [line for line in page.splitlines() if line.startswith("| ")][2:]
    return [(line[2:].split(" | ")[0], line.split(" | ")[1]) for line in lines]


def test_measured_rows_take_their_places_and_the_others_stay() -> None:
    page = report.put(PAGE, figures("2 cores", read="1", drain="2"))
    page = report.put(page, figures("2 cores", drain="5", update="7"))
    assert shown(page) == [("read", "1"), ("drain", "5"), ("update", "7")]
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert page.count("Measured on 2 cores.") == 1
    assert report.put(page, figures("2 cores")) == page


def test_figures_of_two_machines_never_stand_in_one_table() -> None:
    page = report.put(report.put(PAGE, figures("2 cores", read="1")), figures("64 cores", drain="2"))
    assert shown(page) == [("drain", "2")]


def test_a_figure_goes_between_the_marks_of_the_page_as_it_is() -> None:
    page = report.PAGE.read_text()
    machine = page.partition(report.BEGIN)[2].partition(".\n")[0].removeprefix("Measured on ")
    given = Figures(machine, [Row("a | b", "x", ">= 1", "1/s", "2/s", "0.50", reached=False)])
    put = report.put(page, given)
    assert "| a \\| b | 1/s | x | 2/s | 0.50 | >= 1 | missed |" in put
    assert put.count("\n") == page.count("\n") + 1, "what was not measured stays"
    assert report.put(put, given) == put


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="the page has no"):
        report.put("nothing", figures("2 cores"))


def test_the_slowest_answers_have_a_table_of_their_own() -> None:
    lines = [[f"answer {number}", "90 d", 3.0, 9.0 - number / 10, 4.0] for number in range(30)]
    measured = Figures("2 cores", [Row("every answer", "", "", detail={"answers": lines})])
    table = report.answers(measured)
    assert table is not None
    page = report.put_answers(f"before\n{report.ANSWERS}old\n{report.ANSWERS_END}\nafter\n", table)
    assert shown(page) == [(f"answer {number}", "90 d") for number in range(report.SLOWEST)]
    assert "old" not in page
    assert report.answers(figures("2 cores", read="1")) is None
    with pytest.raises(ValueError, match="has no"):
        report.put_answers("no marks", table)
