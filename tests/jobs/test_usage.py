"""Usage: exact limits at any interleaving, counters that equal their records, notices once, in any split."""

from __future__ import annotations

import json
from collections import Counter as Tally
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.action import Action
from jobs.usage import view as usage_view
from tests.jobs.making import cuts
from tests.jobs.metering import (
    DAY,
    HOUR,
    SECOND,
    Memory,
    act,
    applied,
    catalog,
    holding,
    metering,
    plans,
    told,
)

many = settings(deadline=None)


def split(actions: Sequence[Action], at: Sequence[int]) -> list[Sequence[Action]]:
    """Batches, some of them empty."""
    return [actions[begin:end] for begin, end in zip([0, *at], [*at, len(actions)], strict=True)]


def state(memory: Memory) -> tuple[Any, ...]:
    """All that is kept."""
    return memory.accounts, memory.counters, memory.reservations


@many
@given(metering())
def test_every_decision_is_that_of_an_oracle_that_sums_everything_anew(actions: list[Action]) -> None:
    memory, oracle = applied([actions]), told(actions)
    for name, verdict in oracle.verdicts.items():
        assert ("error" in memory.outcomes[name]) is (verdict == "denied"), (name, memory.outcomes[name])
    for (_, action, start), counter in memory.counters.items():
        assert counter.used == oracle.used(action, start)
        assert counter.reserved == oracle.reserved(action, start)
    assert {(action, start) for action, start, _ in oracle.booked} <= {key[1:] for key in memory.counters}
    assert len(memory.effects) == oracle.notices


@many
@given(metering())
def test_no_enforced_call_lets_used_and_reserved_pass_a_hard_limit(actions: list[Action]) -> None:
    memory = applied([actions])
    for action in actions:
        outcome = memory.outcomes.get(action.id, {})
        if action.kind in {"usage.consumed", "usage.reserved"} and outcome.get("allowed"):
            limit = outcome["limit"]
            soft = json.loads(action.data)["action"] == "SOFT"
            assert limit is None or soft or outcome["used"] + outcome["reserved"] <= limit


@many
@given(st.data())
def test_any_split_and_any_repetition_gives_the_same(data: st.DataObject) -> None:
    actions = data.draw(metering())
    again = data.draw(st.lists(st.sampled_from(actions), max_size=5)) if actions else []
    whole, parts = applied([actions]), applied(split(actions, data.draw(cuts(len(actions)))))
    assert state(parts) == state(whole)
    assert parts.facts == whole.facts
    assert parts.outcomes == whole.outcomes
    assert parts.effects == whole.effects
    parts.apply(again)
    assert state(parts) == state(whole)


@many
@given(st.data())
def test_a_sweep_behind_the_log_changes_no_decision(data: st.DataObject) -> None:
    """It ends, at any moment, what has expired before all that is still to come."""
    actions = data.draw(holding() | metering())
    whole, swept = applied([actions]), Memory()
    for number, action in enumerate(actions):
        if data.draw(st.booleans()):
            swept.sweep(min(one.received_at for one in actions[number:]))
        swept.apply([action])
    assert swept.outcomes == whole.outcomes
    assert swept.facts == whole.facts
    assert swept.effects == whole.effects
    if actions:
        last = max(action.received_at for action in actions)
        whole.sweep(last)
        swept.sweep(last)
    assert state(swept) == state(whole)


@many
@given(metering())
def test_counters_are_the_sums_of_their_records(actions: list[Action]) -> None:
    memory = applied(split(actions, range(0, len(actions), 3)))
    sums: Tally[tuple[Any, ...]] = Tally()
    numbers: Tally[tuple[Any, ...]] = Tally()
    for fact in memory.facts:
        if fact["period_start"] is not None:
            key = (fact["subject"], fact["action"], fact["period_start"])
            sums[key] += fact["booked"]
            numbers[key] += 1
            assert fact["number"] == numbers[key]
    assert {key: one.used for key, one in memory.counters.items()} == {key: sums[key] for key in memory.counters}
    assert {key: one.records for key, one in memory.counters.items()} == numbers


@many
@given(metering())
def test_every_threshold_is_told_once(actions: list[Action]) -> None:
    memory = applied(split(actions, range(0, len(actions), 4)))
    found = [
        (one.data["action"], one.data["periodStart"], one.id.split("/")[3], threshold)
        for one in memory.effects
        for threshold in one.data["thresholds"]
    ]
    assert len(found) == len(set(found))
    assert len({one.id for one in memory.effects}) == len(memory.effects)


@many
@given(metering())
def test_the_model_shows_what_a_decision_would_see(actions: list[Action]) -> None:
    memory = applied(split(actions, range(0, len(actions), 5)))
    if "usage:user:ada" not in memory.models:
        return
    model = usage_view.decode(memory.models["usage:user:ada"])
    last = max(action.received_at for action in actions)
    for later in (0 * SECOND, 2 * SECOND, HOUR, DAY, 45 * DAY):
        now = last + later
        for meter in ("UP", "SOFT", "OFF", "OPEN", "DISK"):
            try:
                seen = usage_view.check(model, plans, catalog, now, meter, 2)
            except usage_view.Stale:
                continue
            tried = Memory()
            tried.accounts, tried.counters = dict(memory.accounts), dict(memory.counters)
            tried.reservations = dict(memory.reservations)
            tried.apply([act("try", "usage.consumed", {"action": meter, "quantity": 2}, got=now)])
            outcome = tried.outcomes["try"]
            assert seen["allowed"] is outcome["allowed"]
            assert seen["reserved"] == outcome["reserved"]
            assert seen["used"] == outcome["used"] - (2 if outcome["allowed"] else 0)
            assert (seen["limit"], seen["plan"], seen["resetsAt"]) == (
                *(outcome["limit"], outcome["plan"], outcome["resetsAt"]),
            )
