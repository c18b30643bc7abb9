"""What a batch made is freed as it ends: what holds itself waits for a collection, which stops the loop for 0.1 s."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Sequence

from jobs.action import Action
from jobs.families import FAMILIES
from tests.jobs import metering, referring
from tests.jobs.learning import act as learn
from tests.jobs.making import START, make
from tests.jobs.test_onboarding import act as step
from tests.worker.rig import Rig
from tests.worker.teaching import teach
from tests.worker.test_kill import lone  # noqa: F401

BATCH = 40
"""People of a batch."""


def some(name: str) -> list[Action]:
    """One who browses, learns, is led by the checklist, comes by a code, and uses more than the plan allows."""
    user, org = f"u{name}", f"o{name}"
    return [
        make(f"click{name}", at=START, session_id=f"s{name}", user_id=user),
        make(f"page{name}", "page.viewed", {"path": "/"}, at=START, session_id=f"s{name}", user_id=user),
        learn(f"one{name}", "lesson.completed", user=user, lessonId="bowline"),
        learn(f"two{name}", "lesson.completed", user=user, lessonId="hitch"),
        learn(f"far{name}", "lesson.completed", user=user, lessonId="nowhere"),
        step(f"first{name}", user=user, org=org),
        referring.make(f"up{name}", org, "signed_up", {"code": referring.code_of("host")}, at=START),
        metering.act(f"use{name}", "usage.consumed", {"action": "API_CALL"}, user=user),
        metering.act(f"record{name}", "usage.recorded", {"action": "API_CALL", "quantity": 5}, user=user),
    ]


async def test_no_batch_leaves_what_only_a_collection_frees(lone: Rig) -> None:  # noqa: F811
    await teach(lone, ("knots", ["bowline", "hitch"], "course_completed"))
    await lone.put([referring.make("code", "host", "code_requested")])
    await lone.put(some("warm"))
    await lone.finish()
    assert await left_behind(lone, [one for number in range(BATCH) for one in some(str(number))]) == {}
    assert await lone.fetch("SELECT count(*)::int FROM user_sessions") == [BATCH + 1]
    kinds = {action.kind for action in some("")}
    assert [family.name for family in FAMILIES if not kinds & {kind.name for kind in family.kinds}] == []


async def left_behind(rig: Rig, actions: Sequence[Action]) -> Counter[str]:
    """The types of what a batch of these leaves in cycles."""
    await rig.put(actions, size=len(actions))
    gc.collect()
    gc.disable()
    try:
        await rig.apply(0)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        gc.set_debug(0)
        return Counter(type(one).__qualname__ for one in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
