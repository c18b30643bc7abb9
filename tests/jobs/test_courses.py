"""The fold of courses: order, split and repetition change nothing; a certificate is issued once and stays."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.action import Action
from jobs.courses import certificate as certificates
from jobs.courses import course as progress
from jobs.courses import models
from jobs.courses.certificate import Certificate
from jobs.courses.kinds import KINDS
from tests.jobs.learning import (
    CATALOG,
    EMPTY,
    KEY,
    KNOTS,
    SAILS,
    Memory,
    act,
    applied,
    course,
    family,
    items,
    learning,
    oracle_certified,
    oracle_courses,
    oracle_lessons,
)
from tests.jobs.making import NOW, START, cuts

MINUTE = timedelta(minutes=1)


def split(actions: Sequence[Action], at: Sequence[int]) -> list[Sequence[Action]]:
    """Batches, some of them empty."""
    return [actions[begin:end] for begin, end in zip([0, *at], [*at, len(actions)], strict=True)]


def state(memory: Memory) -> tuple[Any, ...]:
    """All that is kept, but for the arrivals."""
    return memory.lessons(), memory.courses(), memory.certified()


@given(st.data())
def test_order_split_and_repetition_change_nothing(data: st.DataObject) -> None:
    actions = data.draw(learning())
    told = data.draw(st.permutations(actions + data.draw(st.lists(st.sampled_from(actions))) if actions else actions))
    memory = applied(split(told, data.draw(cuts(len(told)))))
    assert memory.lessons() == oracle_lessons(actions)
    assert {key: row for key, row in memory.courses().items() if key[1]} == {
        key: row for key, row in oracle_courses(actions).items() if key[1]
    }
    assert memory.certificates.keys() == oracle_certified(actions)
    assert Counter(memory.effects) == Counter(
        ("certificate.issued", f"certificate.issued:{one.serial}") for one in memory.certificates.values()
    )
    assert state(memory) == state(applied([actions]))
    assert memory.refused == []


@given(st.data())
def test_any_split_gives_the_same_facts_with_the_same_outcomes(data: st.DataObject) -> None:
    actions = data.draw(learning())
    whole, parts = applied([actions]), applied(split(actions, data.draw(cuts(len(actions)))))
    assert sorted(parts.facts) == sorted(whole.facts)
    parts.apply(actions)
    assert sorted(parts.facts) == sorted(whole.facts)


@given(learning())
def test_what_keeps_up_during_a_batch_is_what_is_reckoned_anew(actions: list[Action]) -> None:
    memory = Memory()
    states = memory.apply(actions)
    for standing in states.standings.values():
        anew = progress.Standing(msgspec.structs.replace(standing.enrolment), standing.course)
        for row in standing.rows.values():
            anew.put(row)
        assert (standing.completed, standing.ever, standing.watched) == (anew.completed, anew.ever, anew.watched)
    for key, body in models.written(states):
        shown = json.loads(body)
        if key.startswith("progress:"):
            assert shown["progress_percentage"] is None or 0 <= shown["progress_percentage"] <= 100


OLD = {one.course_id: one for one in (course("knots", "bowline"), course("sails", "jib", "hitch"), EMPTY)}
NEW = {one.course_id: one for one in (course("knots", "bowline", "hitch", "whistle"), SAILS, EMPTY)}


@given(st.data())
def test_a_course_that_changes_is_reckoned_anew(data: st.DataObject) -> None:
    actions = data.draw(learning(claims=(None,)))
    cut = data.draw(st.integers(0, len(actions)))
    memory = Memory(OLD)
    memory.apply(actions[:cut])
    memory.catalog = dict(NEW)
    changes = [
        act(f"course:{one}:2", "course.changed", user=user, courseId=one, version=2, minute=99)
        for one in ("knots", "sails")
        for user in ("ada", "bob")
    ]
    after = data.draw(st.permutations([*changes, *actions[cut:]]))
    for batch in split(after, data.draw(cuts(len(after)))):
        memory.apply(batch)
    expected = applied([actions], NEW)
    assert (memory.lessons(), memory.courses()) == (expected.lessons(), expected.courses())
    issued = applied([actions[:cut]], OLD).certificates.keys() | expected.certificates.keys()
    assert memory.certificates.keys() == issued


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_a_percentage_is_rounded_half_up_and_lies_in_0_to_100(completed: int, total: int) -> None:
    if completed > total:
        return
    found = progress.percentage(completed, total)
    assert found == (math.floor(completed / total * 100 + 0.5) if total else None)
    assert found is None or 0 <= found <= 100


def test_an_eighth_is_13() -> None:
    assert progress.percentage(1, 8) == 13
    assert progress.percentage(1, None) is None


def done(*lesson_ids: str, user: str = "ada") -> list[Action]:
    """Completions, one a minute."""
    return [
        act(f"done {lesson} {user}", "lesson.completed", user=user, minute=n, lessonId=lesson)
        for n, lesson in enumerate(lesson_ids)
    ]


def test_a_certificate_stays_when_a_lesson_is_reopened_or_deleted() -> None:
    memory = applied([done("bowline", "hitch")])
    first = memory.certificates["ada", "knots"]
    memory.apply([act("again", "lesson.reopened", minute=9, lessonId="hitch")])
    memory.apply([act("gone", "lesson.progress_deleted", minute=10, lessonId="bowline")])
    memory.apply([act("back", "lesson.completed", minute=11, lessonId="hitch")])
    assert memory.certificates == {("ada", "knots"): first}
    assert len(memory.effects) == 1
    assert memory.courses()["ada", "knots"]["lessons_completed"] == 1


def test_completed_before_and_after_a_reopening_is_still_a_certificate_in_any_order() -> None:
    actions = [*done("bowline", "hitch"), act("re", "lesson.reopened", minute=5, lessonId="bowline")]
    for order in (actions, actions[::-1]):
        assert applied([[action] for action in order]).certificates.keys() == {("ada", "knots")}


TIES: list[tuple[list[tuple[str, dict[str, Any]]], dict[str, Any]]] = [
    ([("lesson.completed", {}), ("lesson.reopened", {})], {"completed": True}),
    ([("lesson.completed", {}), ("lesson.progress_set", {"completed": False})], {"completed": True}),
    ([("lesson.watched", {"seconds": 5}), ("lesson.progress_deleted", {})], {}),
    (
        [("lesson.progress_set", {"watchTimeSeconds": 9}), ("lesson.progress_set", {"watchTimeSeconds": 4})],
        {"watch_time_seconds": 9},
    ),
    ([("lesson.completed", {"courseId": "winds"}), ("lesson.completed", {"courseId": "gales"})], {"courseId": "winds"}),
]


@pytest.mark.parametrize(("pair", "expected"), TIES)
def test_of_two_at_one_moment_always_the_same_one_counts(pair: Any, expected: dict[str, Any]) -> None:
    actions = [act(f"{n}", kind, lessonId="whistle", **data) for n, (kind, data) in enumerate(pair)]
    for order in (actions, actions[::-1]):
        shown = list(applied([[one] for one in order]).lessons().values())
        assert [expected.items() <= row.items() for row in shown] == [True] * bool(expected)


def test_a_deletion_holds_until_something_happens_later_whatever_arrives_last() -> None:
    deleted = act("d", "lesson.progress_deleted", lessonId="jib", minute=5)
    for minute, rows in ((4, 0), (5, 0), (6, 1)):
        actions = [act("w", "lesson.watched", lessonId="jib", minute=minute, seconds=7), deleted]
        for order in (actions, actions[::-1]):
            shown = applied([[one] for one in order]).lessons()
            assert [row["watch_time_seconds"] for row in shown.values()] == [7] * rows


def test_a_certificate_bears_the_newest_name_whatever_arrives_last() -> None:
    names = [
        act("n1", "course.enrolled", courseId="knots", minute=1, learnerName="Zoe"),
        act("n2", "course.enrolled", courseId="knots", minute=2, learnerName="Ada"),
        act("n3", "course.enrolled", courseId="knots", minute=2, learnerName="Bob"),
        act("n4", "course.enrolled", courseId="knots", minute=3),
    ]
    for order in (names, names[::-1], [names[1], names[2], names[0]], [names[2], names[1], names[0]]):
        for actions in ([*done("bowline", "hitch"), *order], [*order, *done("bowline", "hitch")]):
            held = applied([[one] for one in actions]).certificates["ada", "knots"]
            assert held.learner_name == "Bob"


def test_a_course_without_lessons_never_certifies() -> None:
    memory = applied([[act("1", "course.enrolled", courseId="empty")]])
    assert memory.certificates == {}
    assert memory.courses()["ada", "empty"]["lessons_total"] == 0


@pytest.mark.parametrize(("rule", "expected"), [("none", 0), ("lesson_completed", 1), ("course_completed", 0)])
def test_the_rule_of_the_course_decides(rule: str, expected: int) -> None:
    memory = applied([done("bowline")], {"knots": course("knots", "bowline", "hitch", rule=rule)})
    assert len(memory.certificates) == expected


def test_the_issue_time_is_when_the_deciding_action_arrived_or_the_course_changed() -> None:
    one, other = done("bowline", "hitch")
    one.received_at, other.received_at = NOW - 2 * MINUTE, NOW - 5 * MINUTE
    assert applied([[one], [other]]).certificates["ada", "knots"].issued_at == NOW - 2 * MINUTE
    later = msgspec.structs.replace(KNOTS, updated_at=NOW)
    assert applied([[one, other]], {"knots": later}).certificates["ada", "knots"].issued_at == NOW


def test_a_serial_is_the_same_for_ever() -> None:
    assert certificates.serial_of(KEY, "ada", "knots") == "BSVV-X7W3-ZE2A-R7G4"
    assert re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}", certificates.serial_of(KEY, "a", "b"))
    assert certificates.serial_of(KEY, "a", "bc") != certificates.serial_of(KEY, "ab", "c")
    assert certificates.serial_of(bytes(16), "ada", "knots") != certificates.serial_of(KEY, "ada", "knots")


_rulings = st.tuples(st.integers(0, 4), st.sampled_from([None, "fraud", "mistake"]))


@given(st.lists(_rulings, max_size=6), st.randoms())
def test_the_newest_ruling_counts_whatever_arrives_last(rulings: list[tuple[int, str | None]], random: Any) -> None:
    kept = []
    for order in (rulings, random.sample(rulings, len(rulings)), rulings + rulings[::-1]):
        held = Certificate("S", "ada", "knots", START)
        for minute, reason in order:
            certificates.rule(held, START + minute * MINUTE, reason)
        kept.append(msgspec.structs.astuple(held))
    assert kept[0] == kept[1] == kept[2]
    newest = max(((minute, reason is not None, reason) for minute, reason in rulings), default=(0, False, None))
    assert kept[0][5] == newest[2]


def test_a_certificate_is_revoked_and_reinstated_and_keeps_what_it_is() -> None:
    memory = applied([done("bowline", "hitch")])
    first = memory.certificates["ada", "knots"]
    memory.apply([act("r", "certificate.revoked", minute=5, courseId="knots", reason="fraud")])
    revoked = memory.certificates["ada", "knots"]
    assert (revoked.status, revoked.revoked_reason, revoked.revoked_at) == ("revoked", "fraud", START + 5 * MINUTE)
    memory.apply(done("jib"))
    memory.apply([act("i", "certificate.reinstated", minute=6, courseId="knots")])
    again = memory.certificates["ada", "knots"]
    assert (again.status, again.serial, again.issued_at) == ("valid", first.serial, first.issued_at)
    assert [kind for kind, _ in memory.effects] == [
        *("certificate.issued", "certificate.revoked", "certificate.issued", "certificate.reinstated")
    ]
    memory.apply([act("old", "certificate.revoked", minute=2, courseId="knots", reason="late news")])
    assert memory.certificates["ada", "knots"].status == "valid"
    assert len(memory.effects) == 4


def test_a_certificate_that_is_not_there_cannot_be_revoked_yet() -> None:
    memory = applied([done("bowline", "hitch", user="bob")])
    memory.apply([act("r", "certificate.revoked", user="ada", courseId="knots", reason="envy")])
    assert memory.refused == [("r", "unknown_certificate")]
    assert memory.certificates["bob", "knots"].status == "valid"


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        ("lesson.completed", {"lessonId": "whistle"}, "unknown_lesson"),
        ("lesson.watched", {"lessonId": "whistle", "seconds": 1, "courseId": "knots"}, "unknown_lesson"),
        ("lesson.watched", {"lessonId": "whistle", "seconds": 1, "courseId": "winds"}, "unknown_course"),
        ("lesson.progress_deleted", {"lessonId": "whistle"}, "unknown_lesson"),
        ("lesson.reopened", {"lessonId": "old"}, "unknown_course"),
        ("course.enrolled", {"courseId": "winds"}, "unknown_course"),
        ("course.enrolled", {"courseId": "ended"}, "unknown_course"),
        ("lesson.completed", {"lessonId": "jib", "courseId": "knots"}, "lesson_of_another_course"),
    ],
)
def test_what_is_refused_changes_nothing_and_comes_again(kind: str, data: dict[str, Any], code: str) -> None:
    ended = course("ended", "old", deleted=True)
    memory = Memory({**CATALOG, "ended": ended}, unknown="reject")
    memory.apply([act("bad", kind, **data)])
    assert (memory.refused, memory.facts, memory.rows, memory.enrolments) == ([("bad", code)], [], {}, {})
    if code != "lesson_of_another_course":
        memory.unknown = "accept"
        memory.seen.clear()
        memory.apply([act("bad", kind, **data)])
        assert len(memory.facts) == 1


def test_progress_that_is_there_can_be_deleted_though_its_lesson_is_unknown() -> None:
    memory = Memory(unknown="accept")
    memory.apply([act("1", "lesson.completed", lessonId="whistle")])
    memory.unknown = "reject"
    memory.apply([act("2", "lesson.progress_deleted", lessonId="whistle", minute=1)])
    assert (memory.refused, memory.lessons()) == ([], {})


def test_a_lesson_of_no_course_counts_in_the_statistics() -> None:
    memory = Memory()
    states = memory.apply([act("1", "lesson.progress_set", lessonId="whistle", completed=True, watchTimeSeconds=5400)])
    body = dict(models.written(states))[models.statistics_name("ada")]
    assert json.loads(body) == {
        "total_courses_enrolled": 0,
        "total_lessons_completed": 1,
        "total_watch_time_hours": 1.5,
        "courses": [],
    }
    assert json.loads(memory.facts[0][6])["course"] is None


def test_names_of_models_keep_users_apart() -> None:
    assert models.course_name("a:b", "c") != models.course_name("a", "b:c")


def test_the_kinds_are_those_of_the_family() -> None:
    assert [kind.name for kind in KINDS if not family.owns(kind.name)] == []
    assert not family.owns("page.viewed")
    assert {kind.sheddable for kind in KINDS} == {False}


def test_an_unknown_lesson_waits_while_it_can_be_asked_for() -> None:
    memory = Memory()
    action = act("1", "lesson.completed", lessonId="whistle")
    states = memory._load(items([action]))
    states.looks_up = True
    assert family.fold(states, items([action])) == {"course_events": []}
    assert [one.id for one in family.emitted(states).deferred] == ["1"]
    marked = act("1", "lesson.completed", lessonId="whistle", flags=8)
    assert len(family.fold(states, items([marked]))["course_events"]) == 1
