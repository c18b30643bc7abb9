"""A rebuild of lessons, courses and certificates finds and mends what is broken, and leaves what is not."""

from __future__ import annotations

import random

import pytest

from db import connect
from jobs import rebuild
from jobs.courses.certificate import Certificate
from jobs.courses.facts import CertificateRows
from tests.jobs.learning import act
from tests.worker.rig import Rig
from tests.worker.teaching import differences, recomputed, shown, some, teach

pytestmark = pytest.mark.usefixtures("taught")


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
