"""Courses in the pipe: what the contract says in any order, courses that change, certificates that stay."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from jobs.courses import recompute
from jobs.courses import states as course_states
from jobs.courses.certificate import serial_of
from jobs.families import FAMILIES
from tests.jobs.learning import MINUTE, Memory, act, items, oracle_certified, oracle_courses, oracle_lessons
from tests.jobs.making import NOW, START
from tests.worker.rig import Rig, until
from tests.worker.teaching import check_models, differences, recomputed, shown, some, teach

pytestmark = pytest.mark.usefixtures("taught")


family = next(one for one in FAMILIES if one.name == "courses")


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_comes_in_whatever_order_is_what_the_contract_says(rig: Rig, seed: int) -> None:
    rng = random.Random(seed)
    actions = some(rng, 150)
    held: set[tuple[str, str]] = set()
    for begin in range(0, 150, 50):
        part = actions[begin : begin + 50]
        await rig.put(part + rng.sample(actions[: begin + 50], 10), size=rng.randrange(1, 20))
        await rig.finish()
        lessons, courses, held = await shown(rig)
        assert lessons == oracle_lessons(actions[: begin + 50])
        assert {key: row for key, row in courses.items() if key[1]} == {
            key: row for key, row in oracle_courses(actions[: begin + 50]).items() if key[1]
        }
        assert held == oracle_certified(actions[: begin + 50])
    await check_models(rig)
    assert await rig.dead() == []
    effects = await rig.fetch("SELECT id FROM effects WHERE type = 'certificate.issued'")
    assert len(effects) == len(set(effects)) == len(held)
    assert await rig.fetch("SELECT count(*)::int FROM course_events") == [150]
    assert await differences(rig) == {}


@pytest.mark.parametrize("seed", range(3))
async def test_a_course_that_changes_is_reckoned_anew_for_everybody(rig: Rig, seed: int) -> None:
    rng = random.Random(seed)
    actions = some(rng, 120, claims=(None,))
    await rig.put(actions[:60], size=7)
    await rig.finish()
    await recomputed(rig)
    before = (await shown(rig))[2]
    await teach(rig, ("sails", ["jib", "whistle"], "course_completed"))
    await teach(rig, ("knots", ["bowline"], "lesson_completed"))
    await teach(rig, ("sails", ["jib", "whistle", "hitch"], "none"))
    await rig.put(actions[60:], size=7)
    await recomputed(rig)
    new = Memory({})
    async with rig.pool.acquire() as conn:
        new.catalog = await course_states.courses(conn, ["knots", "sails", "empty"])
    assert new.catalog["sails"].lessons == {"jib", "whistle", "hitch"}
    new.apply(actions)
    lessons, courses, held = await shown(rig)
    assert (lessons, {key: row for key, row in courses.items() if key[1]}) == (
        new.lessons(),
        {key: row for key, row in new.courses().items() if key[1]},
    )
    assert held >= before | new.certificates.keys()
    assert await recomputed(rig) == 0
    assert await differences(rig) == {}
    await check_models(rig)


async def test_the_same_course_again_recomputes_nothing(rig: Rig) -> None:
    await rig.put([act("1", "course.enrolled", courseId="knots")])
    await rig.finish()
    assert await recomputed(rig) == 1
    await teach(rig, ("knots", ["bowline", "hitch"], "course_completed"))
    assert await recomputed(rig) == 0
    assert await rig.fetch("SELECT version FROM courses WHERE course_id = 'knots'") == [1]


async def test_a_recomputation_that_dies_goes_on_where_it_was(rig: Rig) -> None:
    await rig.put([act("1", "lesson.completed", user=f"u{n}", lessonId="bowline") for n in range(7)])
    await rig.finish()
    for _ in range(2):  # two chunks are committed, then the process dies
        assert await recompute._chunk(rig.pool, NOW, 2) in (0, 2)
    assert await rig.fetch("SELECT count(*) FROM courses WHERE pending") == [2]
    assert await recomputed(rig) == 7
    assert await rig.fetch("SELECT count(*) FROM course_events WHERE kind = 'course.changed'") == [7]


async def test_a_course_does_not_change_under_a_batch(rig: Rig) -> None:
    action = act("1", "lesson.completed", lessonId="whistle")
    async with rig.pool.acquire() as conn, conn.transaction():
        states = await family.load(conn, items([action]))
        changing = asyncio.create_task(teach(rig, ("winds", ["whistle"], "course_completed")))
        waiting = "SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await until(lambda: _is(rig, waiting, [1]), "the change waits")
        rows = family.fold(states, items([action]))
        await conn.copy_records_to_table(
            "course_events", records=rows["course_events"], columns=family.facts[0].columns
        )
        await family.save(conn, states)
    await changing
    assert await recomputed(rig) == 1
    assert await rig.fetch("SELECT course_id FROM user_progress") == ["winds"]
    assert ("ada", "winds") in (await shown(rig))[2]


async def _is(rig: Rig, query: str, expected: list[Any]) -> bool:
    return await rig.fetch(query) == expected


async def test_a_certificate_that_was_issued_is_never_another(rig: Rig) -> None:
    actions = [act("1", "lesson.completed", lessonId="bowline"), act("2", "lesson.completed", lessonId="hitch")]
    await rig.put(actions)
    await rig.finish()
    issued = await rig.pool.fetch("SELECT * FROM certificates")
    await rig.put([*actions, act("3", "lesson.reopened", lessonId="hitch", minute=3)])
    await teach(rig, ("knots", ["bowline", "hitch", "sheet bend"], "course_completed"))
    await rig.finish()
    await recomputed(rig)
    await rig.put([act("4", "lesson.completed", lessonId=one, minute=5) for one in ("hitch", "sheet bend")])
    await rig.finish()
    assert await rig.pool.fetch("SELECT * FROM certificates") == issued
    assert await rig.fetch("SELECT count(*)::int FROM effects") == [1]
    await rig.put([act("5", "course.enrolled", courseId="knots", learnerName="Ada L.")])
    await rig.put([act("6", "certificate.revoked", courseId="knots", reason="fraud", minute=7)])
    await rig.finish()
    (row,) = await rig.pool.fetch("SELECT * FROM certificates")
    assert (row["learner_name"], row["revoked_reason"], row["revoked_at"]) == ("Ada L.", "fraud", START + 7 * MINUTE)
    assert (row["serial"], row["issued_at"]) == (issued[0]["serial"], issued[0]["issued_at"])
    assert await differences(rig) == {}


async def test_without_its_key_a_batch_waits_and_nothing_is_buried(rig: Rig) -> None:
    key = await rig.pool.fetchval("DELETE FROM certificate_key RETURNING key")
    await rig.put([act("1", "lesson.completed", lessonId="jib")])
    with pytest.raises(RuntimeError, match="certificate_key"):
        await rig.apply(rig.partition("user:ada"))
    assert await rig.dead() == []
    await rig.pool.execute("INSERT INTO certificate_key (key) VALUES ($1)", key)
    await rig.finish()
    assert await rig.fetch("SELECT serial FROM certificates") == [serial_of(key.bytes, "ada", "sails")]


async def test_two_installations_number_differently_and_a_serial_outlives_its_key(rig: Rig) -> None:
    await rig.put([act("1", "lesson.completed", lessonId="jib")])
    await rig.finish()
    issued = await rig.pool.fetch("SELECT * FROM certificates")
    await rig.pool.execute("UPDATE certificate_key SET key = gen_random_uuid()")
    assert await differences(rig) == {}
    await rig.pool.execute("DELETE FROM certificates")
    await differences(rig, check=False)
    assert await rig.pool.fetch("SELECT * FROM certificates") == issued
    await rig.put([act("1", "lesson.completed", lessonId="jib", user="bob")])
    await rig.finish()
    key = await rig.pool.fetchval("SELECT key FROM certificate_key")
    held = dict(await rig.pool.fetch("SELECT user_id, serial FROM certificates"))
    assert held == {"ada": issued[0]["serial"], "bob": serial_of(key.bytes, "bob", "sails")}
    assert held["ada"] != serial_of(key.bytes, "ada", "sails")


async def test_what_is_refused_is_a_dead_letter_and_what_is_beside_it_goes_in(rig: Rig) -> None:
    good = [act("1", "lesson.completed", lessonId="bowline"), act("3", "lesson.completed", lessonId="hitch")]
    await rig.put([good[0], act("2", "lesson.completed", lessonId="jib", courseId="knots"), good[1]], size=3)
    await rig.finish()
    assert await rig.dead() == [("2", "lesson_of_another_course")]
    assert (await shown(rig))[0] == oracle_lessons(good)
