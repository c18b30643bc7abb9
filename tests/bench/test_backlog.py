"""The simulation of the drain against what can be reckoned by hand."""

from __future__ import annotations

import pytest

from bench.backlog import Pause, Service, Span, simulated

SLOW = Service(0.01, 0.0001, 500)
"""60 ms for a full batch: 8,333 a second."""


def test_what_comes_at_half_the_rate_waits_for_a_batch_or_two() -> None:
    """A batch takes what came during the one before: n = rate * (0.01 + 0.0001 n), 100 at 5,000 a second."""
    found = simulated([Span(10, 5000)], SLOW)
    assert found.p50 == pytest.approx(0.03, rel=0.05)
    assert found.p99 < 0.041
    assert found.peak == pytest.approx(200, rel=0.05)
    assert found.caught_up is None


def test_a_pause_is_made_up_for_at_the_rate_that_is_left() -> None:
    """2,000 a second for 5 s wait; they go down by 8,333 - 2,000 a second until a second's half is left."""
    found = simulated([Span(20, 2000)], SLOW, [Pause(5, 10)])
    assert found.peak == pytest.approx(10_000 + 2000 * 0.06, rel=0.02)
    assert found.caught_up == pytest.approx(10 + (10_000 - 1000) / (SLOW.top - 2000), rel=0.05)
    assert found.p99 == pytest.approx(5, rel=0.05)
    assert found.curve[-1][1] == 0


def test_a_burst_above_the_rate_waits_and_is_applied_to_its_end() -> None:
    """20,000 in a second; what is under way waits, too, and the last one until all are applied."""
    found = simulated([Span(1, 20_000)], SLOW)
    assert found.peak == pytest.approx(20_000 - (SLOW.top - SLOW.most), rel=0.02)
    assert found.curve[-1][0] == pytest.approx(20_000 / SLOW.top, rel=0.02)


def test_pauses_that_touch_are_one() -> None:
    """No batch begins between them."""
    apart = simulated([Span(5, 1000)], SLOW, [Pause(1, 2), Pause(2, 3)])
    assert apart.peak == simulated([Span(5, 1000)], SLOW, [Pause(1, 3)]).peak


def test_nothing_comes() -> None:
    """Nothing waits."""
    assert simulated([Span(5, 0)], SLOW) == (0, None, 0, 0, [])
