"""Lessons and courses that nobody has described: asked for, reckoned without, or refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import nats
import pytest
from nats.aio.msg import Msg

from jobs.courses import undescribed
from jobs.courses.lookups import Lookups
from jobs.families import FAMILIES
from tests import nats_server
from tests.jobs.learning import act
from tests.worker.rig import Rig
from tests.worker.teaching import differences, follow_ups, shown

pytestmark = pytest.mark.usefixtures("taught")
family = next(one for one in FAMILIES if one.name == "courses")


TAUGHT = {
    "id": "winds",
    "title": "Winds",
    "lessons": [{"id": "whistle", "title": "Whistle"}, {"id": "gale", "title": "Gale"}],
}
LESSONS = {"whistle": {"id": "whistle", "courseId": "winds"}, "lull": {"id": "lull", "courseId": "winds"}}


@pytest.fixture
async def services() -> AsyncIterator[str]:
    """A course service and a lesson service behind NATS."""
    async with nats_server.running() as url:
        client = await nats.connect(url)

        async def answer(message: Msg) -> None:
            wanted = msgspec.json.decode(message.data)["id"]
            known = {"winds": TAUGHT} if message.subject.startswith("course") else LESSONS
            await message.respond(msgspec.json.encode(known.get(wanted)))

        for subject in ("course.get_by_id", "lesson.get_by_id"):
            await client.subscribe(subject, cb=answer)
        await client.flush()
        yield url
        await client.close()


async def looked_up(rig: Rig, lookups: Lookups | None) -> int:
    """Ask for what waits, and apply what comes again; how many."""
    number = await undescribed.run(rig.pool, lookups, datetime.now(UTC))
    async with follow_ups(rig) as back:
        await back.sweep()
    await rig.finish()
    return number


@pytest.fixture
def asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The family as a worker has it that is configured for NATS."""
    monkeypatch.setattr(family, "looks_up", lambda: True)


UNKNOWN = [
    act("1", "lesson.completed", lessonId="whistle"),
    act("2", "lesson.completed", lessonId="lull", minute=1),
    act("3", "lesson.completed", lessonId="nowhere", minute=2),
    act("4", "course.enrolled", courseId="winds", learnerName="Ada"),
]


@pytest.mark.usefixtures("asking")
async def test_what_nobody_has_described_is_asked_for(rig: Rig, services: str) -> None:
    await rig.put([*UNKNOWN, *UNKNOWN, act("5", "lesson.completed", lessonId="bowline")], size=3)
    await rig.finish()
    assert await rig.fetch("SELECT id FROM lookups ORDER BY id") == ["1", "2", "3", "4"]
    assert list((await shown(rig))[0]) == [("ada", "bowline")]
    lookups = Lookups(services, timeout=60.0)
    try:
        assert await looked_up(rig, lookups) == 4
        assert await looked_up(rig, lookups) == 0
    finally:
        await lookups.close()
    lessons, courses, held = await shown(rig)
    assert {key[1]: row["courseId"] for key, row in lessons.items()} == {
        "bowline": "knots",
        "whistle": "winds",
        "lull": "winds",
        "nowhere": None,
    }
    assert (courses["ada", "winds"]["lessons_total"], courses["ada", "winds"]["lessons_completed"]) == (2, 1)
    assert (held, await rig.dead()) == (set(), [])  # `lull` is of the course, and not one of those that count
    assert await differences(rig) == {}


@pytest.mark.usefixtures("asking")
@pytest.mark.parametrize("away", ["nowhere", "not configured"])
async def test_when_nobody_answers_the_catalog_decides(rig: Rig, away: str) -> None:
    await rig.put(UNKNOWN)
    await rig.finish()
    lookups = Lookups("nats://127.0.0.1:1", timeout=0.2) if away == "nowhere" else None
    try:
        assert await looked_up(rig, lookups) == 4
    finally:
        if lookups is not None:
            await lookups.close()
    assert len((await shown(rig))[0]) == 3
    assert await rig.fetch("SELECT count(*)::int FROM lookups") == [0]


@pytest.mark.usefixtures("asking")
async def test_look_ups_of_a_process_that_died_are_taken_by_another(rig: Rig) -> None:
    await rig.put(UNKNOWN)
    await rig.finish()
    taken = await rig.pool.fetch(undescribed.QUERIES["take_lookups"], 10, 0.0)
    assert len(taken) == 4  # and the process dies
    assert await looked_up(rig, None) == 4
