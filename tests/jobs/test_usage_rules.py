"""The rules of usage one by one, where the properties might pass by: boundaries, versions, notices, what is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from jobs import door
from jobs.action import Draft, Rejected, Role, Sender
from jobs.families import BY_KIND
from tests.jobs.making import NOW
from tests.jobs.metering import BEGIN, DAY, HOUR, SECOND, Memory, act, applied, catalog

ENDS = datetime(BEGIN.year, 2, 1, tzinfo=UTC)
"""Of ada's first period."""
KINDS = {name: kind for name, (_, kind) in BY_KIND.items()}


class Story:
    """Actions of ada's one after the other, each in a batch of its own; their outcomes."""

    def __init__(self) -> None:
        self.memory, self.number = Memory(), 0

    def tell(self, kind: str, got: datetime = BEGIN, **data: Any) -> dict[str, Any]:
        """One action; its outcome, empty when it was refused."""
        fields = {name: data.pop(name) for name in ("at", "user") if name in data}
        self.number += 1
        self.memory.apply([act(f"a{self.number}", kind, data, got=got, **fields)])
        return self.memory.outcomes.get(f"a{self.number}", {})

    def use(self, action: str = "UP", quantity: int = 1, got: datetime = BEGIN, **data: Any) -> dict[str, Any]:
        """Consume."""
        return self.tell("usage.consumed", got, action=action, quantity=quantity, **data)

    def track(self, action: str, quantity: int, got: datetime = BEGIN, **data: Any) -> None:
        """Record."""
        self.tell("usage.recorded", got, action=action, quantity=quantity, **data)

    def hold(self, quantity: int, got: datetime = BEGIN, ttl: int = 60) -> str:
        """Reserve UP; the reservation's id."""
        outcome = self.tell("usage.reserved", got, action="UP", quantity=quantity, ttl=ttl)
        name: str = outcome["reservationId"]
        return name

    def told(self) -> list[list[int]]:
        """The thresholds of every notice."""
        return [one.data["thresholds"] for one in self.memory.effects]


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_jump_tells_of_all_thresholds_at_once_and_a_correction_of_none_again(story: Story) -> None:
    story.track("UP", 3)
    assert story.told() == []
    story.track("UP", 2)
    assert story.told() == [[80, 90, 100]]
    story.tell("usage.adjusted", action="UP", quantity=-4, reason="refund")
    story.track("UP", 4)
    story.track("UP", 9)
    assert story.told() == [[80, 90, 100]]
    (effect,) = story.memory.effects
    assert (effect.data["threshold"], effect.data["used"], effect.data["percentage"]) == (100, 5, 100)


def test_thresholds_one_by_one_and_anew_in_the_next_period(story: Story) -> None:
    story.tell("usage.limits_set", action="UP", limit=10)
    for quantity in (7, 1, 1, 1, 1):
        story.track("UP", quantity)
    assert story.told() == [[80], [90], [100]]
    story.track("UP", 8, ENDS)
    assert story.told() == [[80], [90], [100], [80]]
    assert len({one.id for one in story.memory.effects}) == 4


def test_another_limit_is_told_of_anew_the_same_limit_set_again_is_not(story: Story) -> None:
    story.tell("usage.limits_set", action="UP", limit=2)
    story.track("UP", 2)
    story.tell("usage.limits_set", action="UP", limit=2)
    story.track("UP", 1)
    assert story.told() == [[80, 90, 100]]
    story.tell("plan.changed", plan="PRO")
    story.tell("usage.limits_set", action="UP", removed=True)
    story.track("UP", 6)
    assert story.told() == [[80, 90, 100], [80, 90, 100]]
    assert [one.data["limit"] for one in story.memory.effects] == [2, 9]


def test_a_gauge_goes_down_never_below_zero_and_is_told_of_once_a_period(story: Story) -> None:
    story.track("DISK", 9)
    story.track("DISK", -5)
    story.track("DISK", 5)
    assert story.told() == [[80, 90]]
    story.track("DISK", -50)
    assert [one.used for one in story.memory.counters.values()] == [0]
    assert story.use("DISK", 10, ENDS)["allowed"]
    assert story.use("DISK", 1, ENDS)["error"] == "plan_limit_exceeded"
    assert story.use("DISK", 1, ENDS)["resetsAt"] is None
    said = "DISK: 10 of 10 in the plan"
    assert story.use("DISK", 1, ENDS)["message"].startswith(said)
    assert story.use("DISK", 3, ENDS)["message"].endswith(", 3 more would be too many")
    assert story.told() == [[80, 90], [80, 90, 100]]
    assert len(story.memory.counters) == 1


def test_a_downgrade_holds_from_the_very_instant_at_which_the_period_ends(story: Story) -> None:
    assert story.tell("plan.changed", plan="PRO")["plan"] == "PRO"
    assert story.use("UP", 9)["allowed"]
    outcome = story.tell("plan.changed", plan="FREE")
    assert (outcome["plan"], outcome["nextPlan"], outcome["nextPlanAt"][:10]) == ("PRO", "FREE", f"{ENDS:%Y-%m-%d}")
    assert story.use("UP", 9, ENDS - SECOND)["plan"] == "PRO"
    assert story.use("UP", 6, ENDS)["plan"] == "FREE"
    assert story.use("UP", 6, ENDS)["limit"] == 5


def test_an_upgrade_keeps_usage_and_boundaries_and_takes_a_coming_downgrade_back(story: Story) -> None:
    before = story.use("UP", 5)
    assert story.use("UP")["error"] == "plan_limit_exceeded"
    changed = story.tell("plan.changed", plan="PRO")
    assert (changed["plan"], changed["previousPlan"], changed["nextPlan"]) == ("PRO", "FREE", None)
    after = story.use("UP", 4)
    assert (after["used"], after["limit"], after["resetsAt"]) == (9, 9, before["resetsAt"])
    story.tell("plan.changed", plan="FREE")
    story.tell("plan.changed", plan="ALL")
    assert story.use("UP", 99, ENDS + DAY)["plan"] == "ALL"


def test_a_plan_that_is_said_to_hold_from_a_time_on(story: Story) -> None:
    at = (BEGIN + DAY).isoformat()
    assert story.tell("plan.changed", plan="PRO", effectiveAt=at)["plan"] == "FREE"
    assert story.use("UP", 6, BEGIN + DAY - SECOND)["limit"] == 5
    assert story.use("UP", 6, BEGIN + DAY)["limit"] == 9
    assert story.tell("plan.changed", BEGIN + DAY, plan="FREE", effectiveAt=at)["plan"] == "FREE"


def test_a_period_that_is_over_keeps_the_limits_that_it_was_judged_by(story: Story) -> None:
    story.track("UP", 4)
    story.tell("plan.changed", ENDS, plan="PRO")
    story.track("UP", 4, ENDS + HOUR, at=BEGIN)
    january, *others = sorted(story.memory.counters.values(), key=lambda one: one.period_start)
    assert not others
    assert (january.used, january.plan, january.limit_value, january.limit_version) == (8, "FREE", 5, "FREE@1")
    assert january.revision == 0  # it was not closed yet
    story.track("UP", 1, ENDS + DAY - SECOND, at=BEGIN)
    story.track("UP", 1, ENDS + DAY, at=BEGIN)
    (january,) = story.memory.counters.values()
    assert (january.used, january.revision, january.closed_at) == (10, 1, ENDS + DAY)


def test_a_soft_limit_goes_up_to_its_cap(story: Story) -> None:
    assert story.use("SOFT", 7)["remaining"] == 0
    denied = story.use("SOFT", 1)
    assert (denied["error"], denied["limit"], denied["percentage"]) == ("plan_limit_exceeded", 5, 140)
    story.tell("plan.changed", plan="PRO")
    assert story.use("SOFT", 1000)["allowed"]  # soft without a cap


def test_null_is_unlimited_and_zero_is_off(story: Story) -> None:
    free = story.use("OPEN", 10**6)
    assert (free["unlimited"], free["limit"], free["percentage"], free["remaining"]) == (True, None, None, None)
    assert story.use("OFF")["error"] == "feature_not_in_plan"
    story.tell("usage.limits_set", action="OFF", limit=None)
    assert story.use("OFF", 10**6)["unlimited"]
    story.tell("usage.limits_set", action="UP", limit=0)
    assert story.use("UP")["error"] == "feature_not_in_plan"
    story.tell("usage.limits_set", action="UP", removed=True)
    assert story.use("UP", 5)["allowed"]


def test_a_limit_of_ones_own_goes_before_the_plans(story: Story) -> None:
    story.tell("usage.limits_set", action="UP", limit=6)
    assert story.use("UP", 6)["limit"] == 6
    assert story.use("UP")["error"] == "plan_limit_exceeded"
    story.tell("usage.limits_set", action="UP", limit=6, hard=False, overageCap=1)
    assert story.use("UP")["allowed"]
    assert story.use("UP")["error"] == "plan_limit_exceeded"


def test_a_file_larger_than_the_plan_takes(story: Story) -> None:
    assert story.use("UP", 1, fileSize=100)["allowed"]
    denied = story.use("UP", 1, fileSize=101)
    assert (denied["error"], denied["maxFileSize"], denied["upgrade"]["plan"]) == ("file_too_large", 100, "PRO")
    assert story.use("UP", 1, fileSize=1001)["upgrade"]["plan"] == "ALL"


def test_more_than_was_reserved_cannot_be_committed_and_nothing_is_lost_by_trying(story: Story) -> None:
    name = story.hold(2)
    for quantity in (3, 10**9):
        said = story.tell("usage.committed", reservationId=name, quantity=quantity)
        assert said["error"] == "commit_exceeds_reservation"
    assert story.tell("usage.committed", reservationId=name, quantity=2)["used"] == 2


def test_a_reservation_ends_once(story: Story) -> None:
    name = story.hold(3)
    assert story.use("UP", 3)["error"] == "plan_limit_exceeded"  # 3 are held
    assert story.tell("usage.committed", reservationId=name, quantity=1)["released"] == 2
    assert story.tell("usage.committed", reservationId=name)["error"] == "reservation_committed"
    assert story.tell("usage.released", reservationId=name)["error"] == "reservation_committed"
    other = story.hold(4)
    assert story.tell("usage.released", reservationId=other)["released"] == 4
    assert story.tell("usage.released", reservationId=other)["error"] == "reservation_released"
    assert story.use("UP", 4)["used"] == 5


def test_a_reservation_expires_at_its_instant_and_is_never_taken_back(story: Story) -> None:
    story.hold(5)
    assert story.use("UP", 1, BEGIN + 60 * SECOND - SECOND / 10**6)["error"] == "plan_limit_exceeded"
    assert story.use("UP", 5, BEGIN + 60 * SECOND)["allowed"]
    assert story.tell("usage.committed", BEGIN + SECOND, reservationId="a1")["error"] == "reservation_expired"
    assert story.tell("usage.released", BEGIN + SECOND, reservationId="a1")["error"] == "reservation_expired"
    (counter,) = story.memory.counters.values()
    assert (counter.used, counter.reserved) == (5, 0)


def test_what_expires_with_the_period_is_counted_where_it_was_held(story: Story) -> None:
    name = story.hold(5, ENDS - SECOND)
    assert story.use("UP", 5, ENDS)["allowed"]
    assert story.tell("usage.committed", ENDS + SECOND, reservationId=name)["used"] == 5
    assert [one.used for one in story.memory.counters.values()] == [5, 5]


def test_somebody_elses_reservation_looks_as_if_it_were_none(story: Story) -> None:
    name = story.hold(2)
    theirs = story.tell("usage.committed", reservationId=name, user="eve")
    nobodys = story.tell("usage.committed", reservationId="nope", user="eve")
    assert theirs["error"] == nobodys["error"] == "unknown_reservation"
    assert theirs["message"].replace(name, "nope") == nobodys["message"]
    assert story.tell("usage.committed", reservationId=name)["used"] == 2


def test_a_plan_or_a_meter_that_is_not_there_any_more_is_refused_and_changes_nothing(story: Story) -> None:
    for kind, data in (
        ("plan.changed", {"plan": "NONE"}),
        ("usage.consumed", {"action": "GONE"}),
        ("usage.recorded", {"action": "GONE"}),
        ("usage.limits_set", {"action": "GONE", "limit": 1}),
        ("usage.account_set", {"zone": "Mars/Olympus"}),
    ):
        assert story.tell(kind, **data) == {}
    assert [code for _, code in story.memory.refused] == [
        *("unknown_plan", "unknown_meter", "unknown_meter", "unknown_meter", "unknown_zone"),
    ]
    assert (story.memory.facts, story.memory.accounts, story.memory.counters) == ([], {}, {})


def test_the_same_id_again_is_the_same_decision() -> None:
    first = act("a", "usage.consumed", {"action": "UP", "quantity": 5})
    memory = applied([[first], [first, act("b", "usage.consumed", {"action": "UP"})], [first]])
    assert memory.outcomes["a"]["used"] == 5
    assert memory.outcomes["b"]["error"] == "plan_limit_exceeded"
    assert [one.used for one in memory.counters.values()] == [5]


BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("usage.recorded", {"action": "NOPE"}, "unknown_meter", "$.data.action"),
    ("usage.consumed", {"action": "up"}, "unknown_meter", "$.data.action"),
    ("usage.reserved", {"action": ""}, "invalid_data", "$.data.action"),
    ("usage.adjusted", {"action": "NOPE", "quantity": 1, "reason": "r"}, "unknown_meter", "$.data.action"),
    ("usage.limits_set", {"action": "NOPE", "limit": 1}, "unknown_meter", "$.data.action"),
    *[
        (kind, {"action": "UP", "quantity": quantity}, "invalid_data", "$.data.quantity")
        for kind in ("usage.recorded", "usage.consumed", "usage.reserved")
        for quantity in (0, -1, 10**18, 10**9 + 1, 1.5, 1e18, "1", True, None, [1])
    ],
    ("usage.adjusted", {"action": "UP", "quantity": 0, "reason": "r"}, "invalid_data", "$.data.quantity"),
    ("usage.adjusted", {"action": "UP", "quantity": -(10**18), "reason": "r"}, "invalid_data", "$.data.quantity"),
    ("usage.adjusted", {"action": "UP", "quantity": 1}, "invalid_data", "$.data"),
    ("usage.adjusted", {"action": "UP", "quantity": 1, "reason": ""}, "invalid_data", "$.data.reason"),
    ("usage.reserved", {"action": "UP", "ttl": 0}, "invalid_data", "$.data.ttl"),
    ("usage.reserved", {"action": "UP", "ttl": 86_401}, "invalid_data", "$.data.ttl"),
    ("usage.consumed", {"action": "UP", "fileSize": -1}, "invalid_data", "$.data.fileSize"),
    ("usage.consumed", {"action": "UP", "metadata": []}, "invalid_data", "$.data.metadata"),
    ("usage.consumed", {"action": "UP", "resourceId": "a\x00"}, "invalid_data", "$.data.resourceId"),
    ("usage.committed", {}, "invalid_data", "$.data"),
    ("usage.committed", {"reservationId": ""}, "invalid_data", "$.data.reservationId"),
    ("usage.committed", {"reservationId": "r", "quantity": 0}, "invalid_data", "$.data.quantity"),
    ("usage.released", {"reservationId": "x" * 129}, "invalid_data", "$.data.reservationId"),
    ("plan.changed", {"plan": ""}, "invalid_data", "$.data.plan"),
    ("plan.changed", {"plan": "PRO", "effectiveAt": "2026-01-01T00:00:00"}, "invalid_data", "$.data.effectiveAt"),
    ("plan.changed", {"plan": "PRO", "effectiveAt": "9999-12-31T23:59:59Z"}, "invalid_data", "$.data.effectiveAt"),
    ("usage.limits_set", {"action": "UP"}, "invalid_data", "$.data.limit"),
    ("usage.limits_set", {"action": "UP", "limit": 1, "removed": True}, "invalid_data", "$.data.limit"),
    ("usage.limits_set", {"action": "UP", "limit": -1}, "invalid_data", "$.data.limit"),
    ("usage.limits_set", {"action": "UP", "limit": 10**18}, "invalid_data", "$.data.limit"),
    ("usage.limits_set", {"action": "UP", "limit": 1, "overageCap": 1}, "invalid_data", "$.data.overageCap"),
    ("usage.account_set", {}, "invalid_data", "$.data"),
    ("usage.account_set", {"zone": "Mars/Olympus"}, "unknown_zone", "$.data.zone"),
    ("usage.account_set", {"zone": "../../etc/passwd"}, "unknown_zone", "$.data.zone"),
    ("usage.account_set", {"billing": "weekly"}, "invalid_data", "$.data.billing"),
    (
        "usage.account_set",
        {"billing": "calendar", "anchorAt": "2026-01-31T00:00:00Z"},
        "invalid_data",
        "$.data.anchorAt",
    ),
]


def sent(kind: str, data: dict[str, Any], role: Role = "service") -> None:
    """Through the door."""
    sender = Sender("s", role, frozenset(("ingest",)), "ada" if role == "user" else None)
    draft = Draft(kind=kind, user_id="ada", data=msgspec.Raw(msgspec.json.encode(data)))
    door.accept(draft, KINDS, sender, NOW, catalog)


@pytest.mark.parametrize(("kind", "data", "code", "path"), BAD)
def test_the_door_names_what_is_wrong(kind: str, data: dict[str, Any], code: str, path: str) -> None:
    with pytest.raises(Rejected) as caught:
        sent(kind, data)
    assert (caught.value.code, caught.value.path) == (code, path)
    assert caught.value.message


def test_who_may_lower_what_is_used() -> None:
    sent("usage.recorded", {"action": "DISK", "quantity": -1})
    for kind, data in (
        ("usage.recorded", {"action": "DISK", "quantity": -1}),
        ("usage.adjusted", {"action": "UP", "quantity": -1, "reason": "mine"}),
        ("plan.changed", {"plan": "ALL"}),
        ("usage.limits_set", {"action": "UP", "limit": None}),
        ("usage.account_set", {"zone": "UTC"}),
    ):
        with pytest.raises(Rejected) as caught:
            sent(kind, data, "user")
        assert caught.value.code == "forbidden_kind"
