"""Positions and partitions: their text, their order, where a subject goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db import stream
from db.stream import Position


@given(st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1)), st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_positions_as_text_and_their_order(first: tuple[int, int], second: tuple[int, int]) -> None:
    one, two = Position(*first), Position(*second)
    assert Position.parse(str(one)) == one
    assert (stream.sortable(one) < stream.sortable(two)) == (one < two)


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "1-x", "٣-1", "1-1-1", "9" * 21 + "-0", "-1-0"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a position looks like"):
        Position.parse(text)


def test_the_partition_of_a_subject_never_changes() -> None:
    assert [stream.partition_of(subject, 8) for subject in ("session:a", "user:ü", "metric:0")] == [4, 3, 4]
