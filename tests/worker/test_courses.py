"""Courses through the whole pipe: the log, a drain, Postgres, Redis; against what is reckoned anew from all actions."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import nats
import pytest
from nats.aio.msg import Msg

from db import connect, keys
from db.settings import Settings
from db.stream import Log
from jobs import rebuild
from jobs.action import Action, is_id
from jobs.courses import catalog, models, recompute, undescribed
from jobs.courses import states as course_states
from jobs.courses.catalog import LessonBody, NamedCourse
from jobs.courses.certificate import Certificate, serial_of
from jobs.courses.facts import CertificateRows
from jobs.courses.lookups import Lookups
from jobs.families import FAMILIES
from tests import nats_server
from tests.jobs.learning import CATALOG, MINUTE, Memory, act, items, oracle_certified, oracle_courses, oracle_lessons
from tests.jobs.making import NOW, START
from tests.worker import rig as rigs
from tests.worker.rig import Rig, until
from worker.follow_ups import FollowUps

family = next(one for one in FAMILIES if one.name == "courses")
OLD = START - timedelta(days=1)


async def teach(rig: Rig, *courses: tuple[str, Sequence[str], str]) -> None:
    """Store courses: id, lessons, rule."""
    named = [
        NamedCourse(title=one.title(), lessons=[LessonBody(name, name) for name in ids], certificate=rule, id=one)  # type: ignore[arg-type]
        for one, ids, rule in courses
    ]
    async with rig.pool.acquire() as conn, conn.transaction():
        await catalog.put(conn, named, OLD)


@pytest.fixture
async def rig(settings: Settings) -> AsyncIterator[Rig]:
    """A worker on a database of its own, with the courses of tests/jobs/learning.py."""
    async with rigs.rig(settings) as made:
        await teach(made, *[(one.course_id, sorted(one.lessons), one.certificate) for one in CATALOG.values()])
        yield made


def some(
    rng: random.Random, number: int, prefix: str = "a", claims: Sequence[str | None] = (None, "winds")
) -> list[Action]:
    """Distinct actions in odd order."""
    made = []
    for n in range(number):
        kind = rng.choice(
            ["watched", "progress_set", "completed", "completed", "reopened", "progress_deleted", "enrolled"]
        )
        user, minute, lesson = rng.choice("abc"), rng.randrange(8), rng.choice(["bowline", "hitch", "jib", "whistle"])
        data: dict[str, Any] = {"lessonId": lesson}
        if kind == "enrolled":
            data = {"courseId": rng.choice(["knots", "sails", "winds"]), "learnerName": rng.choice("XYZ")}
        elif lesson == "whistle" and kind != "progress_deleted" and (claim := rng.choice(claims)):
            data["courseId"] = claim
        if kind == "watched":
            data["seconds"] = rng.randrange(60)
        if kind == "progress_set":
            data |= rng.choice([{}, {"completed": rng.random() < 0.5}, {"watchTimeSeconds": rng.randrange(200)}])
        name = "course.enrolled" if kind == "enrolled" else f"lesson.{kind}"
        made.append(act(f"{prefix}{n}", name, user=user, minute=minute, **data))
    return made


async def shown(rig: Rig) -> tuple[Any, Any, Any]:
    """Lessons, courses and certificates as Postgres has them, in the form of the oracle."""
    columns = "user_id, lesson_id, id, course_id, completed, watch_time_seconds, created_at, updated_at"
    rows = await rig.pool.fetch(f"SELECT {columns} FROM user_progress WHERE deleted_at IS NULL")
    names = ("userId", "lessonId", "id", "courseId", "completed", "watch_time_seconds", "createdAt", "updatedAt")
    lessons = {(row[0], row[1]): dict(zip(names, row, strict=True)) for row in rows}
    reckoned = "enrolled_at, last_at, lessons_total, lessons_completed, watch_time_seconds, completed_at, learner_name"
    rows = await rig.pool.fetch(
        f"SELECT user_id, course_id, {reckoned} FROM user_courses WHERE enrolled_at IS NOT NULL"
    )
    courses = {(row[0], row[1]): dict(list(row.items())[2:]) for row in rows}
    held = await rig.pool.fetch("SELECT user_id, course_id FROM certificates")
    return lessons, courses, {tuple(row) for row in held}


async def model(rig: Rig, name: str, user: str) -> bytes | None:
    """A read model as it stands in Redis."""
    found: bytes | None = await rig.client.get(keys.model(rig.partition(f"user:{user}"), name))
    return found


async def check_models(rig: Rig) -> None:
    """Each model is what a read of Postgres would fill in."""
    users = await rig.fetch("SELECT DISTINCT user_id FROM user_courses")
    async with rig.pool.acquire() as conn:
        for user in users:
            assert await model(rig, models.statistics_name(user), user) == await models.load_statistics(conn, user)
            held = await models.load_certificates(conn, user)
            assert await model(rig, models.certificates_name(user), user) == held
            for course_id in await rig.fetch("SELECT course_id FROM user_courses WHERE user_id = $1", user):
                if course_id:
                    loaded = await models.load_course(conn, user, course_id)
                    assert await model(rig, models.course_name(user, course_id), user) == loaded


async def differences(rig: Rig, *, check: bool = True) -> dict[tuple[str, str], set[str]]:
    """What a rebuild finds, by table and key."""
    found: dict[tuple[str, str], set[str]] = {}
    conn, other = [await connect.postgres(rig.settings.database_url) for _ in range(2)]
    try:
        run = rebuild.Rebuild(
            conn,
            other,
            rig.client,
            check,
            lambda table, key, said: found.update({(table, key): {one[0] for one in said}}),
        )
        await run.run()
    finally:
        await conn.close()
        await other.close()
    return found


@asynccontextmanager
async def follow_ups(rig: Rig) -> AsyncIterator[FollowUps]:
    """What brings recomputed and looked-up actions back into the log."""
    journal = Log(rig.client, rig.settings.partitions, sys.maxsize)
    journal.refusal, journal.waits = None, []
    journal.start()
    try:
        yield FollowUps(rig.pool, journal)
    finally:
        await journal.stop()


async def recomputed(rig: Rig, chunk: int = 2) -> int:
    """All changed courses, through the log; how many actions that took."""
    await recompute.run(rig.pool, datetime.now(UTC), chunk)
    assert not any(map(is_id, await rig.fetch("SELECT id FROM follow_ups"))), "a client could use them up beforehand"
    async with follow_ups(rig) as back:
        number = await back.sweep()
    await rig.finish()
    return number


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


BREAKAGES = {
    "user_progress": (
        ("completed = NOT completed", "completed"),
        ("watched_seconds = watched_seconds + 1", "watched_seconds"),
        ("set_seconds = 1000", "set_seconds"),
        ("created_at = created_at - interval '1 hour'", "created_at"),
        ("course_id = 'other'", "course_id"),
        ("last_deleted_at = now()", "last_deleted_at"),
        ("first_completed_at = now()", "first_completed_at"),
    ),
    "user_courses": (
        ("lessons_completed = 9", "lessons_completed"),
        ("watch_time_seconds = 9", "watch_time_seconds"),
        ("learner_name = 'nobody'", "learner_name"),
        ("enrolled_at = now()", "enrolled_at"),
    ),
    "certificates": (
        ("serial = 'FFFF-FFFF-FFFF-FFFF'", "serial"),
        ("learner_name = 'nobody'", "learner_name"),
        ("revoked_at = now(), revoked_reason = 'envy'", "revoked_reason"),
        ("ruled_at = now()", "ruled_at"),
    ),
}


async def test_a_rebuild_finds_and_mends_whatever_is_broken(rig: Rig) -> None:
    await rig.put(some(random.Random(9), 150))
    await rig.finish()
    kept, expected = await shown(rig), set()
    certificates = await rig.pool.fetch("SELECT * FROM certificates ORDER BY user_id, course_id")
    assert len(certificates) >= 4
    for table, breakages in BREAKAGES.items():
        column = "lesson_id" if table == "user_progress" else "course_id"
        for number, (breakage, field) in enumerate(breakages):
            of = f"SELECT user_id, {column} FROM {table} WHERE {column} <> '' ORDER BY 1, 2 LIMIT 1 OFFSET {number}"
            query = f"UPDATE {table} SET {breakage} WHERE (user_id, {column}) = ({of}) RETURNING user_id, {column}"
            (row,) = await rig.pool.fetch(query)
            expected.add((table, "\x1f".join(row), field))
    found = await differences(rig)
    assert expected <= {(*key, field) for key, fields in found.items() for field in fields}
    await differences(rig, check=False)
    assert await differences(rig) == {}
    assert await shown(rig) == kept
    assert await rig.pool.fetch("SELECT * FROM certificates ORDER BY user_id, course_id") == certificates


async def test_a_rebuild_brings_back_what_is_missing_and_removes_what_never_was(rig: Rig) -> None:
    await rig.put([act(f"{n}", "lesson.completed", lessonId=one) for n, one in enumerate(["bowline", "hitch", "jib"])])
    await rig.finish()
    kept, certificates = await shown(rig), await rig.pool.fetch("SELECT * FROM certificates ORDER BY serial")
    for table in ("certificates", "user_courses", "user_progress"):
        await rig.pool.execute(f"DELETE FROM {table}")
        await differences(rig, check=False)
        assert await shown(rig) == kept
        assert await rig.pool.fetch("SELECT * FROM certificates ORDER BY serial") == certificates
    await rig.pool.execute(
        "INSERT INTO user_courses (user_id, course_id, enrolled_at, lessons_completed, watch_time_seconds, received_at)"
        " VALUES ('ghost', 'knots', now(), 1, 1, now())"
    )
    await rig.pool.execute(
        "INSERT INTO certificates (serial, user_id, course_id, issued_at) VALUES ('MINE', 'ada', 'gone', now())"
    )
    ghosts = {("user_courses", "ghost\x1fknots"): {"(row)"}, ("certificates", "ada\x1fgone"): {"(row)"}}
    assert await differences(rig) == ghosts
    await differences(rig, check=False)
    assert await shown(rig) == kept
    assert await rig.pool.fetch("SELECT * FROM certificates ORDER BY serial") == certificates


async def test_a_rebuild_keeps_what_the_courses_of_today_would_not_issue(rig: Rig) -> None:
    """The outcomes say what was issued: by a lesson, by a course that changed, and what was ruled about it."""
    await rig.put([act("1", "lesson.completed", lessonId="bowline"), act("2", "lesson.completed", lessonId="hitch")])
    await rig.put([act("3", "lesson.completed", lessonId="jib", user="bob")])
    await rig.put([act("4", "lesson.completed", lessonId="bowline", user="eve")])
    await rig.finish()
    await teach(rig, ("knots", ["bowline"], "course_completed"))
    await recomputed(rig)
    await rig.put([act("5", "certificate.revoked", courseId="knots", reason="fraud", user="eve", minute=7)])
    await rig.put([act("6", "course.enrolled", courseId="knots", learnerName="Ada L.", minute=8)])
    await rig.finish()
    await teach(rig, ("knots", ["bowline", "hitch", "reef"], "course_completed"), ("sails", ["jib"], "none"))
    await recomputed(rig)
    certificates = await rig.pool.fetch("SELECT * FROM certificates ORDER BY user_id, course_id")
    assert [(row["user_id"], row["revoked_reason"], row["learner_name"]) for row in certificates] == [
        ("ada", None, "Ada L."),
        ("bob", None, None),
        ("eve", "fraud", None),
    ]
    assert await differences(rig) == {}
    await rig.pool.execute("DELETE FROM certificates")
    missing = {("certificates", key): {"(row)"} for key in ("ada\x1fknots", "bob\x1fsails", "eve\x1fknots")}
    assert await differences(rig) == missing
    await differences(rig, check=False)
    again = await rig.pool.fetch("SELECT * FROM certificates ORDER BY user_id, course_id")
    names = [name for name in Certificate.__struct_fields__ if name != "issued_at"]
    assert [[row[name] for name in names] for row in again] == [[row[name] for name in names] for row in certificates]


async def test_certificates_are_counted_and_paged_and_old_ones_left_alone(rig: Rig) -> None:
    done = [act(f"{user}", "lesson.completed", lessonId="jib", user=f"u{user:04}") for user in range(40)]
    await rig.put(done, size=40)
    await rig.finish()
    await rig.pool.execute("ANALYZE certificates")
    table = CertificateRows()
    async with rig.pool.acquire() as conn:
        assert await table.count(conn) == 40
        pages: list[tuple[str, str]] = []
        after = ""
        while page := await table.page(conn, after, 7):
            pages += page
            after = page[-1][0]
    assert pages == [(f"u{user:04}\x1fsails", f"user:u{user:04}") for user in range(40)]
    await rig.pool.execute("UPDATE certificates SET learner_name = 'nobody' WHERE user_id < 'u0003'")
    await rig.pool.execute("UPDATE user_courses SET received_at = now() - interval '2 years' WHERE user_id < 'u0002'")
    conn, other = [await connect.postgres(rig.settings.database_url) for _ in range(2)]
    try:
        results = await rebuild.Rebuild(conn, other, rig.client, True, lambda *_: None).run()
    finally:
        await conn.close()
        await other.close()
    (result,) = [one for one in results if one.table == "certificates"]
    assert (result.seen, result.left, result.differing) == (40, 2, 1)


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
    lookups = Lookups(services)
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
