"""Every scenario of `make chaos` in its short version, with real processes and real faults."""

from __future__ import annotations

import pytest

from bench.chaos import storm
from bench.chaos.scenarios import SCENARIOS

SLOW = {"postgres_away", "full_disk", "frozen_worker", "half_open", "limit_under_kills"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in SCENARIOS]
)
async def test_scenario(name: str) -> None:
    figures = await SCENARIOS[name](True)
    if "SKIPPED" in figures:
        pytest.skip(figures["SKIPPED"])
    assert figures["acknowledged"] > 0


async def test_storm() -> None:
    figures = await storm.run(storm.Plan(kills=6, seed=3, freezes=0, pause=(0.2, 0.8), cut=2.0))
    assert figures["kills"] >= 6
    assert figures["acknowledged"] > 100
    assert all(figures["people"][name] > 0 for name in ("certificates", "firsts", "rewards", "webhooks"))
