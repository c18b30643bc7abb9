"""Accounts, counters and reservations follow from their facts alone: what is told again is what was kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.action import Action
from jobs.usage import told
from jobs.usage.plans import Limit
from jobs.usage.rows import Account, Counter
from jobs.usage.told import Held
from tests.jobs.making import cuts
from tests.jobs.metering import BEGIN, DAY, HOUR, Memory, act, applied, catalog, metering, plans
from tests.jobs.test_usage import split

DECISIONS = {"usage.consumed", "usage.reserved", "usage.committed", "usage.released"}
RULINGS = {"plan.changed", "usage.limits_set", "usage.account_set"}


def retold(facts: Sequence[dict[str, Any]]) -> tuple[dict[str, Account], dict[Any, Held]]:
    """As `jobs.usage.facts` does it with Postgres: the queries' part by hand."""
    accounts: dict[str, Account] = {}
    counters: dict[Any, Held] = {}
    for subject in {one["subject"] for one in facts}:
        own = [one for one in facts if one["subject"] == subject]
        counted = [one for one in own if one["number"] is not None and one["period_start"] is not None]
        rulings = [one for one in own if one["kind"] in RULINGS]
        first = min(one["received_at"] for one in own)
        accounts[subject] = told.account({"subject": subject, "first_at": first, "metered": bool(counted)})
        for one in sorted(rulings, key=lambda one: one["number"]):
            told.rule(accounts[subject], one)
        limits = known_limits(rulings)
        for one in sorted(counted, key=lambda one: one["number"]):
            key = subject, one["action"], one["period_start"]
            limit = limits[one["action"], one["limit_version"]]
            told.count(counters.setdefault(key, Held(None, {})), with_expiry(one), partial(chosen, limit))
        decided = max((one["received_at"] for one in own if one["kind"] in DECISIONS), default=None)
        released = {
            (subject, one["reservation_id"]) for one in own if one["kind"] == "usage.released" and one["action"]
        }
        for key, held in counters.items():
            if key[0] == subject:
                told.end(held, released, decided)
                assert held.counter is not None
                told.close(held.counter, None, DAY)
    return accounts, counters


def chosen(limit: Limit, _counter: Counter, version: str) -> Limit:
    assert limit.version == version
    return limit


def with_expiry(fact: dict[str, Any]) -> dict[str, Any]:
    return fact | {"expires_at": json.loads(fact["outcome"] or "{}").get("expiresAt")}


def known_limits(rulings: Sequence[dict[str, Any]]) -> dict[tuple[str, str], Limit]:
    found = {
        (meter.name, f"{plan}@0"): Limit(None, version=f"{plan}@0")
        for meter in catalog.meters
        for plan in plans.names()
    }
    for plan in plans.names():
        for action, limit in plans.at(plan, BEGIN).body.limits.items():
            found[action, limit.version] = limit
    for one in rulings:
        outcome = json.loads(one["outcome"])
        if one["kind"] == "usage.limits_set" and (own := told.ruled_limit(outcome)) is not None:
            found[one["action"], own.version] = own
    return found


def kept(memory: Memory) -> dict[Any, Held]:
    """Counters with their reservations, as they were kept."""
    found = {key: Held(msgspec.structs.replace(one), {}) for key, one in memory.counters.items()}
    for one in memory.reservations.values():
        found[one.subject, one.action, one.period_start].reservations[one.id] = one
    return found


def check(memory: Memory, now: datetime) -> None:
    """What is told is what was kept; what has expired by `now` may or may not have been ended."""
    accounts, counters = retold(memory.facts)
    assert accounts == memory.accounts
    assert {key: held.at(now) for key, held in counters.items()} == {
        key: held.at(now) for key, held in kept(memory).items()
    }
    for held in counters.values():
        assert held.counter is not None
        held_now = sum(one.quantity for one in held.reservations.values() if one.status == "open")
        assert held.counter.reserved == held_now


@settings(deadline=None)
@given(st.data())
def test_the_facts_alone_tell_what_was_kept(data: st.DataObject) -> None:
    actions: list[Action] = data.draw(metering())
    memory = applied(split(actions, data.draw(cuts(len(actions)))))
    check(memory, max((action.received_at for action in actions), default=BEGIN))


def test_every_way_of_a_reservation() -> None:
    def held(name: str, ttl: int) -> Action:
        return act(name, "usage.reserved", {"action": "OPEN", "quantity": 3, "ttl": ttl})

    memory = applied(
        [
            [held("open", 7200), held("due", 3600), held("part", 7200), held("all", 7200), held("free", 7200)],
            [
                act("c1", "usage.committed", {"reservationId": "part", "quantity": 1}),
                act("r", "usage.released", {"reservationId": "free"}),
            ],
            [
                act("c2", "usage.committed", {"reservationId": "all"}),
                act("late", "usage.committed", {"reservationId": "due"}, got=BEGIN + HOUR),
            ],
        ]
    )
    (counter,) = memory.counters.values()
    assert (counter.used, counter.reserved, counter.records) == (4, 3, 7)
    found = {one.id: (one.status, one.committed) for one in memory.reservations.values()}
    assert found == {
        "open": ("open", 0),
        "due": ("expired", 0),
        "part": ("committed", 1),
        "all": ("committed", 3),
        "free": ("released", 0),
    }
    _, counters = retold(memory.facts)
    (held_now,) = counters.values()
    assert {one.id: (one.status, one.committed) for one in held_now.reservations.values()} == found
    assert held_now.counter == counter


def test_a_correction_says_that_its_period_was_closed() -> None:
    old = act("a", "usage.adjusted", {"action": "UP", "quantity": 2, "reason": "forgotten"}, at=BEGIN - 40 * DAY)
    memory = applied([[old]])
    (counter,) = memory.counters.values()
    assert counter.period_end is not None
    assert (counter.revision, counter.closed_at) == (1, counter.period_end + DAY)
    check(memory, BEGIN)


def test_a_closing_that_nothing_tells_of_is_kept_unless_it_lies_before_the_end() -> None:
    memory = applied([[act("a", "usage.recorded", {"action": "UP"})]])
    (own,) = memory.counters.values()
    assert own.period_end is not None
    for closed, expected in ((own.period_end + DAY, own.period_end + DAY), (own.period_end - DAY, None), (None, None)):
        made: Counter = msgspec.structs.replace(own)
        told.close(made, msgspec.structs.replace(own, closed_at=closed), DAY)
        assert made.closed_at == expected
