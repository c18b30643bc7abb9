"""The tracking family: any order, any split and any repetition of actions gives the same rows."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.stream import START as NOWHERE
from jobs.action import Action, Draft
from jobs.families import BY_KIND, FAMILIES
from jobs.family import Item
from jobs.tracking import session as fold
from jobs.tracking.family import Tracking
from jobs.tracking.kinds import metric_subject, session_subject
from jobs.tracking.session import Session
from jobs.tracking.states import States
from tests.jobs import oracle
from tests.jobs.making import NOW, START, cuts, make, named, wandering
from worker import apply

Facts = dict[str, list[tuple[Any, ...]]]
family = FAMILIES[0]
assert isinstance(family, Tracking)
MINUTE = timedelta(minutes=1)


def items(actions: Iterable[Action]) -> list[Item]:
    """Actions as a batch has them."""
    return [(NOWHERE, action, BY_KIND[action.kind][1].decoder.decode(action.data)) for action in actions]


def split(actions: Sequence[Action], at: Sequence[int]) -> list[Sequence[Action]]:
    """Batches, some of them empty."""
    return [actions[begin:end] for begin, end in zip([0, *at], [*at, len(actions)], strict=True)]


class Memory:
    """Postgres's part without Postgres: what was saved before is what the next batch loads."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.facts: Facts = defaultdict(list)
        self.seen: set[tuple[str, str, str]] = set()

    def apply(self, actions: Sequence[Action]) -> None:
        """One batch: only ids not seen before, only sessions near the batch."""
        new = []
        for action in actions:
            key = (oracle.table(action), action.subject, action.id)
            if key not in self.seen:
                self.seen.add(key)
                new.append(action)
        states = States()
        for session in self.sessions.values():
            near = [a for a in new if a.subject == session.subject]
            if session.subject.startswith("session:"):
                states.sessions[session.session_id] = session
            elif (
                near
                and session.at <= max(a.at for a in near) + fold.IDLE
                and session.last_at >= min(a.at for a in near) - fold.IDLE
            ):
                states.add(session)
        for table, rows in family.fold(states, items(new)).items():
            self.facts[table] += rows
        self.sessions |= states.changed

    def rows(self) -> dict[str, dict[str, Any]]:
        """The sessions as rows."""
        return {key: msgspec.structs.asdict(session) for key, session in self.sessions.items()}

    def visits(self) -> dict[str, list[list[str]]]:
        """subject -> the ids of the actions of each session, sorted."""
        found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for rows in self.facts.values():
            for subject, action_id, session_id, *_ in rows:
                found[subject][session_id].append(action_id)
        return {subject: sorted(sorted(ids) for ids in own.values()) for subject, own in found.items()}


def applied(batches: Iterable[Sequence[Action]]) -> Memory:
    """All of it, batch by batch."""
    memory = Memory()
    for batch in batches:
        memory.apply(batch)
    return memory


def facts(memory: Memory) -> Facts:
    """The facts in any order."""
    return {table: sorted(rows, key=repr) for table, rows in memory.facts.items()}


@given(st.data())
def test_order_split_and_repetition_change_nothing_in_named_sessions(data: st.DataObject) -> None:
    actions = data.draw(named())
    told = data.draw(st.permutations(actions + data.draw(st.lists(st.sampled_from(actions))) if actions else actions))
    memory = applied(split(told, data.draw(cuts(len(told)))))
    assert memory.rows() == oracle.sessions(actions)
    assert facts(memory) == facts(applied([actions]))
    replayed = applied([*split(told, []), told])
    assert (replayed.rows(), facts(replayed)) == (memory.rows(), facts(memory))


@given(st.data())
def test_any_split_of_visitors_actions_is_one_batch(data: st.DataObject) -> None:
    actions = data.draw(wandering())
    whole = applied([actions])
    parts = applied(split(actions, data.draw(cuts(len(actions)))))
    assert parts.rows() == whole.rows()
    assert facts(parts) == facts(whole)


@given(st.data())
def test_visitors_sessions_in_time_order_are_what_30_minutes_divide(data: st.DataObject) -> None:
    actions = sorted(data.draw(wandering()), key=lambda action: action.at)
    memory = applied(split(actions, data.draw(cuts(len(actions)))))
    expected = {
        subject: sorted(sorted(ids) for ids in oracle.visits(a for a in actions if a.subject == subject))
        for subject in {a.subject for a in actions}
    }
    assert memory.visits() == expected


@given(wandering())
def test_the_session_of_a_fact_is_the_one_it_is_counted_in(actions: list[Action]) -> None:
    memory = applied([actions])
    for session_id, row in memory.rows().items():
        own = [ids for rows in memory.facts.values() for _, ids, given_id, *_ in rows if given_id == session_id]
        mine = [action for action in actions if action.id in own]
        expected = oracle.session(session_id, mine)
        assert row == expected


@given(wandering(visitors=1))
def test_the_outcome_is_the_session_of_the_fact_whatever_comes_later_in_the_batch(actions: list[Action]) -> None:
    states = States()
    batch = items(actions)
    rows = family.fold(states, batch)
    held = {(row[0], row[1]): row[2] for own in rows.values() for row in own}
    for _, action, _ in batch:
        assert family.outcome(states, action) == {"sessionId": held[action.subject, action.id]}


def test_a_late_action_that_would_join_two_sessions_leaves_them_two() -> None:
    memory = applied([[make(f"a{n}", at=START + n * MINUTE, user_id="u") for n in (0, 50, 25)]])
    assert memory.visits() == {"user:u": [["a0", "a25"], ["a50"]]}


def test_an_outcome_is_not_changed_by_what_follows_in_its_batch() -> None:
    states = States()
    batch = items(make(f"a{n}", at=START + n * MINUTE, user_id="u") for n in (0, 50, 25))
    family.fold(states, batch)
    told = [family.outcome(states, action)["sessionId"].rpartition("@")[2] for _, action, _ in batch]
    assert told == [str(int((START + n * MINUTE).timestamp() * 1000)) for n in (0, 50, 0)]


def test_a_session_id_makes_one_session_however_long_its_pauses() -> None:
    memory = applied([[make(f"a{n}", at=START + n * 300 * MINUTE) for n in range(3)]])
    assert memory.rows()["s"]["interactions"] == 3


def test_subjects_are_the_session_then_the_user_then_the_anonymous_id() -> None:
    assert session_subject(Draft(session_id="s", user_id="u", anonymous_id="a")) == "session:s"
    assert session_subject(Draft(user_id="u", anonymous_id="a")) == "user:u"
    assert session_subject(Draft(anonymous_id="a", org_id="o")) == "anonymous:a"
    assert session_subject(Draft(org_id="o")) is None
    assert metric_subject(Draft(id="m", user_id="u")) == metric_subject(Draft(id="m"))
    assert metric_subject(Draft(session_id="s")) == "session:s"


def test_a_metric_of_no_session_leaves_no_session() -> None:
    memory = applied([[make("m", "metric.recorded", {"metricName": "load", "value": 1}, user_id="u")]])
    assert memory.rows() == {}
    assert [row[2] for row in memory.facts["performance_metrics"]] == [None]


# The same through Postgres and the worker's own record.


async def recorded(conn: asyncpg.Connection, batches: Iterable[Sequence[Action]]) -> None:
    """Each batch through steps 3 to 6."""
    for batch in batches:
        if batch:
            await apply.record(conn, items(batch), NOW - timedelta(days=8), replay=True)


async def sessions(conn: asyncpg.Connection) -> dict[str, dict[str, Any]]:
    """The rows of user_sessions."""
    rows = await conn.fetch(f"SELECT {', '.join(fold.COLUMNS)} FROM user_sessions")
    return {row["session_id"]: dict(row) for row in rows}


async def held(conn: asyncpg.Connection) -> Facts:
    """All facts."""
    return {
        own.table: sorted(map(tuple, await conn.fetch(f"SELECT {', '.join(own.columns)} FROM {own.table}")), key=repr)
        for own in family.facts
    }


_few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@_few
@given(actions=named(), seed=st.integers(0, 1000), data=st.data())
async def test_named_sessions_through_postgres(
    conn: asyncpg.Connection, actions: list[Action], seed: int, data: st.DataObject
) -> None:
    told = actions + random.Random(seed).sample(actions, len(actions) // 2)
    random.Random(seed).shuffle(told)
    async with savepoint(conn):
        await recorded(conn, split(told, data.draw(cuts(len(told)))))
        assert await sessions(conn) == oracle.sessions(actions)
        before = await held(conn)
        assert sum(map(len, before.values())) == len(actions)
        await recorded(conn, [told])
        assert await held(conn) == before
        assert await sessions(conn) == oracle.sessions(actions)


@_few
@given(actions=wandering(), data=st.data())
async def test_visitors_through_postgres_are_what_the_fold_says(
    conn: asyncpg.Connection, actions: list[Action], data: st.DataObject
) -> None:
    async with savepoint(conn):
        await recorded(conn, split(actions, data.draw(cuts(len(actions)))))
        whole = applied([actions])
        assert await sessions(conn) == whole.rows()
        ids = {(row[0], row[1]): row[2] for rows in (await held(conn)).values() for row in rows}
        assert ids == {(row[0], row[1]): row[2] for rows in whole.facts.values() for row in rows}


@pytest.mark.parametrize("minutes", [-30, -29, 29, 30])
async def test_a_visitor_s_action_finds_the_session_near_it_in_either_direction(
    conn: asyncpg.Connection, minutes: int
) -> None:
    near = make("b", at=START + minutes * MINUTE, user_id="u")
    await recorded(conn, [[make("a", at=START, user_id="u")], [near]])
    assert [row["interactions"] for row in (await sessions(conn)).values()] == [2]


async def test_one_old_action_does_not_load_every_session_that_others_ever_had(conn: asyncpg.Connection) -> None:
    await recorded(conn, [[make(f"a{n}", at=START - n * 60 * MINUTE, user_id="busy") for n in range(20)]])
    batch = items([make("old", at=START - timedelta(days=34), user_id="late"), make("new", at=START, user_id="busy")])
    assert len((await family.load(conn, batch)).sessions) == 1


class savepoint:  # noqa: N801 a context, read as one
    """What an example did is gone before the next one."""

    def __init__(self, conn: asyncpg.Connection) -> None:
        self.transaction = conn.transaction()

    async def __aenter__(self) -> None:
        await self.transaction.start()

    async def __aexit__(self, *_: object) -> None:
        await self.transaction.rollback()


@pytest.mark.parametrize("subject", ["session:s", "user:u", "anonymous:a"])
async def test_the_read_model_names_of_applied_actions_are_those_the_fold_published(
    conn: asyncpg.Connection, subject: str
) -> None:
    kind, _, value = subject.partition(":")
    ids: dict[str, Any] = {f"{kind}_id": value}
    action = make("a", **ids)
    done = await apply.record(conn, items([action]), NOW - timedelta(days=8), replay=False)
    assert {name for name, _ in done.models} == set(await family.model_names(conn, items([action])))
