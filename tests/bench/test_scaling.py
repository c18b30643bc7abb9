"""The tables of docs/scaling.md: as the script makes them, from costs that a bench measured."""

from __future__ import annotations

import pytest

from bench import scaling
from bench.costs import Costs
from bench.report import Figures
from bench.rows import Row

ROUND = Costs(api_single=50, api_batch=5, worker=10, postgres=5, roll_worker=200, roll_postgres=200, waiting_bytes=1024)


def line(table: str, what: str) -> list[str]:
    """The cells of one line behind its first."""
    (found,) = [row for row in table.splitlines() if row.startswith(f"| {what} |")]
    return [cell.strip() for cell in found.split("|")[2:-1]]


def test_the_page_has_these_tables() -> None:
    """From the costs that are kept; `python -m bench.scaling` writes them."""
    page = scaling.PAGE.read_text()
    assert scaling.put(page, scaling.kept()) == page


def test_the_arithmetic() -> None:
    """86.4 million a day are 1,000 in the mean second and 5,000 in the busiest one."""
    assert scaling.peak(86.4e6) == pytest.approx(5000)
    needs = {need.what: need.value(ROUND, 86.4e6) for need in scaling.NEEDS}
    assert needs["API processes, one action a request"] == "1"  # 0.25 s of CPU in a second, half busy: 0.5
    assert needs["worker processes"] == "1"  # 10 us and 3 times 200 us for 20: 40 us, 0.2 s
    assert needs["memory for an hour without Postgres"] == "17.2 GiB"  # 5,000 * 3,600 KiB
    assert needs["Redis nodes, by that memory"] == "2"
    assert scaling.passes_top(ROUND) == pytest.approx(20 / 3 / 400e-6)
    needs = {need.what: need.value(ROUND, 8.64e9) for need in scaling.NEEDS}
    assert needs["API processes, one action a request"] == "50"
    assert needs["worker processes"] == "40"
    assert needs["installations, by their one pass at a time"] == "30"


def test_what_sessions_cost_in_life_goes_before() -> None:
    """The costs of a bench have sessions of one kind of action."""
    rows = [
        Row("costs", "", "", detail={"costs": {"worker": 7.0, "fact_bytes": 300.0}}),
        Row("life", "", "", detail={"in_life": {"fact_bytes": 400.0}}),
    ]
    assert scaling.told(Figures("2 cores", rows)) == Costs(worker=7.0, fact_bytes=400.0)
    assert scaling.told(Figures("2 cores", rows[:1])).fact_bytes == 300.0


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="has no"):
        scaling.put("no marks", ROUND)


def test_costs_are_told_in_words() -> None:
    assert line(scaling.costs_table(ROUND), "worker, rollups: 3 reckonings of a session for 20 actions") == ["30.0 us"]
