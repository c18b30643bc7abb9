"""The fold of a session: order and repetition do not matter, and what it keeps is what the contract says."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.tracking import session as fold
from jobs.tracking.session import Device, Session
from tests.jobs.making import START, make

MINUTE = timedelta(minutes=1)


def opened() -> Session:
    """A session that nothing happened in."""
    return fold.opened(make("first"), "s")


def test_the_columns_are_those_of_the_table() -> None:
    assert fold.COLUMNS[:3] == ("session_id", "subject", "at")
    assert len(set(fold.COLUMNS)) == len(fold.COLUMNS)


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [(-30, "early"), (-31, None), (0, "early"), (40, "early"), (41, "late"), (101, "late"), (102, None)],
)
def test_an_action_joins_what_lies_within_30_minutes(minutes: int, expected: str | None) -> None:
    early, late = opened(), opened()
    early.session_id, early.last_at = "early", START + 10 * MINUTE
    late.session_id, late.at, late.last_at = "late", START + 61 * MINUTE, START + 71 * MINUTE
    assert fold.assign([late, early], make("x", at=START + minutes * MINUTE)) == expected


def test_an_end_holds_unless_something_happened_later() -> None:
    session = opened()
    fold.end(session, START)
    fold.touch(session, make("same moment", at=START))
    assert (session.ended_at, session.last_at) == (START, START)
    fold.touch(session, make("later", at=START + MINUTE))
    fold.end(session, START)
    assert (session.ended_at, session.last_at) == (None, START + MINUTE)


_devices = st.tuples(st.sampled_from([None, "", "phone"]), st.sampled_from([None, 0, 1]), st.sampled_from([None, 0, 1]))


@given(st.lists(st.tuples(st.integers(0, 2), _devices), max_size=6), st.randoms())
def test_of_devices_seen_in_one_moment_always_the_same_one_stays(
    seen: list[tuple[int, Device]], random: Random
) -> None:
    shuffled = random.sample(seen, len(seen))
    results = []
    for order in (seen, shuffled, seen + shuffled):
        session = opened()
        for minutes, device in order:
            fold.device(session, START + minutes * MINUTE, device)
        results.append(msgspec.structs.astuple(session))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    ("one", "other"),
    [((None, 1, None), ("", 1, None)), (("a", None, 1), ("a", 0, 1)), (("a", 1, None), ("b", 0, None))],
)
def test_of_two_devices_in_one_moment_the_order_does_not_matter(one: Device, other: Device) -> None:
    kept = []
    for order in ((one, other), (other, one)):
        session = opened()
        for device in order:
            fold.device(session, START, device)
        kept.append((session.device_type, session.viewport_width, session.viewport_height))
    assert kept == [other, other]


def test_a_percentage_never_falls_and_completion_is_the_first() -> None:
    session = opened()
    fold.snapshot(session, START + 2 * MINUTE, None, 100.0, ordered=False)
    fold.snapshot(session, START + 3 * MINUTE, 5.0, 40.0, ordered=True)
    fold.snapshot(session, START + MINUTE, 7.0, None, ordered=True)
    assert session.completion_percentage == 100
    assert session.completed_at == START + MINUTE
    assert (session.total_price, session.priced_at, session.snapshots) == (5.0, START + 3 * MINUTE, 3)
