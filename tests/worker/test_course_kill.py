"""kill -9 of a draining process at every command while certificates are issued: each is issued once, and told once."""

from __future__ import annotations

import asyncio
import json

import pytest

from jobs.courses import models
from tests.jobs.learning import act
from tests.worker.rig import Rig
from tests.worker.teaching import differences, model, teach
from tests.worker.test_kill import drained, lone, victim  # noqa: F401


@pytest.mark.parametrize("when", ["before", "sent"])
async def test_a_kill_at_any_command_issues_each_certificate_once(
    lone: Rig,  # noqa: F811
    victim: asyncio.subprocess.Process,  # noqa: F811
    when: str,
) -> None:
    await teach(lone, ("knots", ["bowline", "hitch"], "course_completed"))
    ends: list[str] = []
    for number in range(1, 100):
        user = f"u{number}"
        done = [act(f"{one} {number}", "lesson.completed", user=user, lessonId=one) for one in ("bowline", "hitch")]
        await lone.put([*done, act(f"r{number}", "lesson.reopened", user=user, lessonId="hitch", minute=5)], size=2)
        ends.append(await drained(victim, number, when))
        await lone.finish()
        assert await lone.fetch("SELECT count(*)::int FROM certificates") == [number]
        assert await lone.fetch("SELECT count(*)::int FROM effects") == [number]
        assert await lone.fetch("SELECT count(*)::int FROM course_events") == [3 * number]
        if ends[-1] == "done":
            break
    assert ends == ["killed"] * (len(ends) - 1) + ["done"]
    assert len(ends) > 10
    assert json.loads(await model(lone, models.certificates_name("u1"), "u1") or b"{}")["certificates"]
    assert await differences(lone) == {}
