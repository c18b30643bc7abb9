"""kill -9 of a draining process at every command of a batch of all families: each thing is there once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from jobs.action import Action
from tests.jobs import referring
from tests.jobs.learning import act as learn
from tests.jobs.making import START, make
from tests.jobs.test_onboarding import act as step
from tests.worker.rig import Rig
from tests.worker.teaching import differences, teach
from tests.worker.test_kill import drained, lone, victim  # noqa: F401
from tests.worker.test_referrals import settle

MINUTE = timedelta(minutes=1)


def some(number: int) -> list[Action]:
    """A newcomer who clicks, completes a course, comes by the code of `host`, and does what qualifies twice."""
    user, org, at = f"u{number}", f"o{number}", START + number * MINUTE
    click = make(f"click{number}", at=at, session_id=f"s{number}", user_id=user)
    return [
        click,
        learn(f"one{number}", "lesson.completed", user=user, lessonId="bowline"),
        step(f"later{number}", user=user, org=org, minute=number + 1),
        referring.make(f"up{number}", org, "signed_up", {"code": referring.code_of("host")}, at=at),
        learn(f"two{number}", "lesson.completed", user=user, lessonId="hitch"),
        step(f"first{number}", user=user, org=org, minute=number),
        click,
    ]


@pytest.mark.parametrize(("when", "begin"), [("before", 1), ("sent", 2)])
async def test_a_kill_at_any_command_leaves_what_every_family_made_once(
    lone: Rig,  # noqa: F811
    victim: asyncio.subprocess.Process,  # noqa: F811
    when: str,
    begin: int,
) -> None:
    await teach(lone, ("knots", ["bowline", "hitch"], "course_completed"))
    await lone.put([referring.make("code", "host", "code_requested")])
    await lone.finish()
    ends: list[str] = []
    for number in range(begin, 200, 2):
        await lone.put(some(number), size=2)
        ends.append(await drained(victim, number, when))
        await settle(lone)
        await check(lone, [f"u{one}" for one in range(begin, number + 1, 2)])
        if ends[-1] == "done":
            break
    assert ends == ["killed"] * (len(ends) - 1) + ["done"]
    assert len(ends) > 10
    assert await differences(lone) == {}


async def check(rig: Rig, users: list[str]) -> None:
    """Sessions, first times, certificates, rewards, effects, facts: of each newcomer one, or the two that there are."""
    number = len(users)
    assert await rig.fetch("SELECT interactions::int FROM user_sessions") == [1] * number
    firsts = await rig.pool.fetch("SELECT user_id, first_at, count::int FROM onboarding_actions")
    assert {tuple(row) for row in firsts} == {(user, START + int(user[1:]) * MINUTE, 2) for user in users}
    assert sorted(await rig.fetch("SELECT user_id FROM certificates")) == sorted(users)
    assert await rig.fetch("SELECT status::text FROM referrals") == ["REWARDED"] * number
    assert await rig.fetch("SELECT count(*)::int FROM referral_rewards") == [2 * number]
    told = dict(await rig.pool.fetch("SELECT type, count(*)::int FROM effects GROUP BY type"))
    types = ("certificate.issued", "first_created_clip", "referral.rewarded")
    assert told == dict.fromkeys(types, number)
    counted = {table: len(rows) for table, rows in (await rig.facts()).items()}
    assert (counted["interaction_events"], counted["course_events"], counted["onboarding_events"]) == (
        number,
        2 * number,
        2 * number,
    )
    assert await rig.dead() == []
