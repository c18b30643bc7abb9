"""Buckets of prices: each price lies in its own, and they leave no gap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.analytics.cells import price_bucket, price_end


@given(st.floats(-1e15, 1e15))
def test_a_price_lies_in_its_bucket(price: float) -> None:
    lower = int(price_bucket(price))
    assert abs(lower) <= abs(price) < abs(price_end(lower))
    assert lower == 0 or (lower > 0) == (price > 0) == (price_end(lower) > 0)


@given(st.integers(0, 10**15))
def test_where_one_ends_the_next_begins(price: int) -> None:
    end = price_end(int(price_bucket(price)))
    assert price_bucket(end) == str(end)
    assert price_bucket(end - 1) == price_bucket(price)


@pytest.mark.parametrize(("lower", "end"), [(0, 10), (10, 12), (80, 100), (100, 120), (300_000, 400_000), (-60, -80)])
def test_where_a_bucket_ends(lower: int, end: int) -> None:
    assert price_end(lower) == end
