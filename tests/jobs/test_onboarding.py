"""The onboarding's rules: whatever the order, the batches and the repetitions, the same is kept."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db import stored_catalog
from jobs import catalog as catalogs
from jobs import door
from jobs.action import Action, Draft, Rejected, Sender, is_id
from jobs.families import KINDS
from jobs.onboarding import checklist
from jobs.onboarding import facts as onboarding_facts
from jobs.onboarding import rows as onboarding
from jobs.onboarding.checklist import Checklist
from jobs.onboarding.family import Onboarding, States
from jobs.onboarding.kinds import COMPLETED, DONE, SKIPPED
from tests.jobs.making import NOW, START, cuts

FAMILY = Onboarding()
CATALOG = catalogs.default()
NAMES = [one.action for one in CATALOG.onboarding.actions]
_few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def act(
    action_id: str, kind: str = DONE, *, user: str = "ada", minute: float = 0, org: str | None = None, **data: Any
) -> Action:
    """An action of a user, as the door makes it."""
    data = {"action": "created_clip", "projectId": "p-1", **data} if kind == DONE else {"step": "WELCOME", **data}
    at, body = START + timedelta(minutes=minute), json.dumps(data).encode()
    return Action(action_id, kind, f"user:{user}", at, NOW, 0, body, user_id=user, org_id=org)


@st.composite
def actions(draw: st.DrawFn) -> list[Action]:
    """Distinct actions of two users, whose times and organisations collide."""
    common = {
        "user": st.sampled_from(["ada", "bob"]),
        "minute": st.integers(0, 6),
        "org": st.sampled_from([None, "acme", "zeta"]),
    }
    doing = st.fixed_dictionaries({**common, "kind": st.just(DONE), "action": st.sampled_from(NAMES)})
    steps = st.sampled_from(CATALOG.onboarding.steps[:3])
    seconds = st.none() | st.sampled_from([0, 0.5, 1.49, 30])
    closing = st.fixed_dictionaries(
        {**common, "kind": st.sampled_from([COMPLETED, SKIPPED]), "step": steps, "timeSpentSeconds": seconds}
    )
    rows: list[dict[str, Any]] = draw(st.lists(doing | closing, max_size=20))
    return [act(f"a{n}", **row) for n, row in enumerate(rows)]


def fold(batches: Sequence[Sequence[Action]]) -> States:
    """All of these, one batch after the other, on the same states; an id counts once, as the worker has it."""
    states, seen = States(CATALOG), set[tuple[str, str]]()
    for batch in batches:
        items = []
        for action in batch:
            if (action.subject, action.id) not in seen:
                items.append((None, action, KINDS[action.kind].decoder.decode(action.data)))
            seen.add((action.subject, action.id))
        FAMILY.fold(states, items)
    return states


def kept(states: States) -> dict[str, Any]:
    """What is saved, in a form that compares."""
    return {user: msgspec.to_builtins(row) for user, row in states.users.items()}


@given(actions(), st.data())
def test_order_batches_and_repetitions_do_not_matter(given_: list[Action], data: st.DataObject) -> None:
    expected = fold([given_])
    shuffled = data.draw(st.permutations(given_ + data.draw(st.lists(st.sampled_from(given_ or [act("x")])))))
    shuffled = [action for action in shuffled if action.id != "x"]
    places = [0, *data.draw(cuts(len(shuffled))), len(shuffled)]
    found = fold([shuffled[begin:end] for begin, end in itertools.pairwise(places)])
    assert kept(found) == kept(expected)
    assert {(one.subject, one.id) for one in found.effects} == {(one.subject, one.id) for one in expected.effects}
    assert len(found.effects) == len(expected.effects)
    assert found.qualified.keys() == expected.qualified.keys()


@given(actions())
def test_what_is_kept_is_what_the_contract_says(given_: list[Action]) -> None:
    states = fold([given_])
    for user, one in states.users.items():
        own = [(action, json.loads(action.data)) for action in given_ if action.user_id == user]
        for name in NAMES:
            times = [action.at for action, data in own if data.get("action") == name]
            done = one.actions.get(name)
            assert (done is not None) == bool(times)
            if done is not None:
                assert (done.first_at, done.last_at, done.count) == (min(times), max(times), len(times))
        for step in CATALOG.onboarding.steps:
            rows = [(action, data) for action, data in own if data.get("step") == step]
            closed = one.steps.get(step)
            assert (closed is not None) == bool(rows)
            if closed is None:
                continue
            completions = [action.at for action, _ in rows if action.kind == COMPLETED]
            assert closed.status == ("completed" if completions else "skipped")
            assert closed.completed_at == min(completions, default=None)
            spent = [int(s + 0.5) for _, data in rows if (s := data["timeSpentSeconds"]) is not None]
            assert closed.time_spent_seconds == (sum(spent) if spent else None)
        progress = checklist.progress(one, CATALOG.onboarding)
        assert progress["completionPercentage"] == 25 * len(one.actions)
        assert progress["exportCount"] == sum(data.get("action") == "shared_content" for _, data in own)
        assert 0 <= checklist.status(one, CATALOG.onboarding)["percentage"] <= 100
        firsts = [effect for effect in states.effects if effect.subject == f"user:{user}"]
        assert sorted(effect.type for effect in firsts) == sorted(f"first_{name}" for name in one.actions)


@given(actions())
def test_qualified_since_the_earliest(given_: list[Action]) -> None:
    follow_ups = FAMILY.emitted(fold([given_])).follow_ups
    found = {(one.user_id, one.org_id): one for one in follow_ups}
    assert len(found) == len(follow_ups)
    expected: dict[tuple[str | None, str], list[Action]] = {}
    for action in given_:
        if action.org_id is not None and json.loads(action.data).get("action") == "created_clip":
            expected.setdefault((action.user_id, action.org_id), []).append(action)
    assert found.keys() == expected.keys()
    for key, causes in expected.items():
        one = found[key]
        assert (one.kind, one.subject, one.data) == ("referral.qualified", f"org:{key[1]}", b"{}")
        assert one.at == min(action.at for action in causes)
        assert not is_id(one.id), "a client could use it up beforehand"


@given(st.integers(1, 100), st.data())
def test_percentages(whole: int, data: st.DataObject) -> None:
    part = data.draw(st.integers(0, whole))
    found = checklist.percentage(part, whole)
    assert 0 <= found <= 100
    assert abs(found - 100 * part / whole) <= 0.5
    assert (checklist.percentage(1, 8), checklist.percentage(1, 3), checklist.percentage(2, 3)) == (13, 33, 67)
    assert (found == 100) == (200 * part >= 199 * whole)


def outcomes(*given_: Action) -> list[Any]:
    """What is said of each."""
    states, found = States(CATALOG), []
    for action in given_:
        FAMILY.fold(states, [(None, action, KINDS[action.kind].decoder.decode(action.data))])
        found.append(FAMILY.outcome(states, action))
    return found


def test_the_first_time_is_told_once() -> None:
    first, second, other = outcomes(act("1", minute=5), act("2"), act("3", action="shared_content", minute=9))
    assert [one["isFirstTime"] for one in (first, second, other)] == [True, False, True]
    assert first["progress"]["firstClipAt"] == START + timedelta(minutes=5)
    assert second["progress"]["firstClipAt"] == START, "an earlier one that arrives late"
    assert other["progress"] == {
        "userId": "ada",
        "hasCreatedClip": True,
        "hasAddedSubtitles": False,
        "hasReframedVideo": False,
        "hasShared": True,
        "firstClipAt": START,
        "firstSubtitleAt": None,
        "firstReframeAt": None,
        "firstShareAt": START + timedelta(minutes=9),
        "exportCount": 1,
        "lastExportAt": START + timedelta(minutes=9),
        "completionPercentage": 50,
    }


def test_the_effect_carries_project_and_metadata() -> None:
    metadata = {"clipCount": 5, "projectId": "mine", "userId": "eve", "deep": {"n": int("7" * 400)}}
    (effect,) = fold([[act("1", metadata=metadata, org="acme"), act("2")]]).effects
    assert (effect.type, effect.id, effect.subject) == ("first_created_clip", "first_created_clip", "user:ada")
    told = json.loads(msgspec.json.encode(effect.data))
    own = {"userId": "ada", "orgId": "acme", "projectId": "p-1", "action": "created_clip"}
    assert told == metadata | own


def test_skipped_may_become_completed_never_back() -> None:
    skip, complete = act("1", SKIPPED, timeSpentSeconds=2), act("2", COMPLETED, minute=3, timeSpentSeconds=2.5)
    for order in ([skip, complete], [complete, skip]):
        (*_, said) = outcomes(*order)
        first = said["status"]["steps"][0]
        when = START + timedelta(minutes=3)
        assert first == {"step": "WELCOME", "status": "completed", "completedAt": when, "timeSpentSeconds": 5}


def test_a_checklist_that_is_done_with() -> None:
    steps = CATALOG.onboarding.steps
    said = outcomes(*(act(step, COMPLETED if n else SKIPPED, step=step, minute=n) for n, step in enumerate(steps)))
    assert [one["status"]["currentStep"] for one in said] == [*steps[1:], "COMPLETED"]
    last = said[-1]["status"]
    assert (last["completed"], last["skipped"], last["percentage"]) == (True, True, 83)
    assert last["completedAt"] == START + timedelta(minutes=5)
    assert (said[-2]["status"]["completed"], said[-2]["status"]["completedAt"]) == (False, None)
    nothing = checklist.status(Checklist("new"), CATALOG.onboarding)
    assert (nothing["currentStep"], nothing["completed"], nothing["percentage"]) == ("WELCOME", False, 0)


def test_another_catalog_tells_the_same_facts_in_its_own_words() -> None:
    text = '[[onboarding.actions]]\naction = "shared_content"\nflag = "didShare"\nfirstAt = "sharedAt"\n'
    other = catalogs.parse(
        f'[onboarding]\nsteps = ["HELLO", "WELCOME"]\n{text}[referrals]\nprefix = "X"\nqualifyingAction = '
        '"shared_content"\nlink = "https://x.example/{code}"\nrewards = {unit = "days", referrer = 1, referred = 1}\n'
    )
    one = fold([[act("1"), act("2", action="shared_content"), act("3", COMPLETED)]]).users["ada"]
    assert checklist.progress(one, other.onboarding) == {
        "userId": "ada",
        "didShare": True,
        "sharedAt": START,
        "completionPercentage": 100,
    }
    told = checklist.status(one, other.onboarding)
    assert (told["currentStep"], told["percentage"]) == ("HELLO", 50)


@pytest.mark.parametrize(
    ("kind", "data", "code", "path"),
    [
        (DONE, {"action": "flew", "projectId": "p"}, "unknown_action", "$.data.action"),
        (DONE, {"action": "Created_clip", "projectId": "p"}, "unknown_action", "$.data.action"),
        (DONE, {"action": "created_clip"}, "invalid_data", "$.data"),
        (DONE, {"action": "created_clip", "projectId": ""}, "invalid_data", "$.data.projectId"),
        (DONE, {"action": "created_clip", "projectId": 7}, "invalid_data", "$.data.projectId"),
        (DONE, {"action": "created_clip", "projectId": "p\x00"}, "bad_text", "$.data"),
        (DONE, {"action": "created_clip", "projectId": "p", "metadata": [1]}, "invalid_data", "$.data.metadata"),
        (DONE, {"action": "created_clip", "projectId": "p", "more": 1}, "invalid_data", "$.data"),
        (DONE, {"action": "created_clip", "projectId": "p", "metadata": {"x": "y" * 300_000}}, "too_large", "$.data"),
        (COMPLETED, {"step": "COMPLETED"}, "unknown_step", "$.data.step"),
        (SKIPPED, {"step": "welcome"}, "unknown_step", "$.data.step"),
        (SKIPPED, {}, "invalid_data", "$.data"),
        (COMPLETED, {"step": "WELCOME", "timeSpentSeconds": -1}, "invalid_data", "$.data.timeSpentSeconds"),
        (COMPLETED, {"step": "WELCOME", "timeSpentSeconds": "5"}, "invalid_data", "$.data.timeSpentSeconds"),
        (COMPLETED, {"step": "WELCOME", "timeSpentSeconds": 1e12}, "invalid_data", "$.data.timeSpentSeconds"),
    ],
)
def test_what_the_door_refuses(kind: str, data: dict[str, Any], code: str, path: str) -> None:
    sender = Sender("key:x", "service", frozenset(("ingest",)))
    draft = Draft(kind=kind, user_id="ada", data=msgspec.Raw(json.dumps(data).encode()))
    with pytest.raises(Rejected) as caught:
        door.accept(draft, KINDS, sender, NOW, CATALOG)
    assert (caught.value.code, caught.value.path) == (code, path)


# With Postgres


async def record(conn: asyncpg.Connection, batch: Sequence[Action]) -> States:
    """Facts and states of one batch, as the worker writes them."""
    items = [(None, action, KINDS[action.kind].decoder.decode(action.data)) for action in batch]
    states = await FAMILY.load(conn, items)
    rows = FAMILY.fold(states, items)
    for facts in FAMILY.facts:
        await conn.copy_records_to_table(facts.table, records=rows[facts.table], columns=facts.columns)
    await FAMILY.save(conn, states)
    return states


async def restart(conn: asyncpg.Connection) -> None:
    """Nothing of any user."""
    for table in ("onboarding_events", *onboarding_facts.TABLES):
        await conn.execute(f"DELETE FROM {table}")


@_few
@given(given_=actions(), data=st.data())
async def test_incremental_is_rebuilt(conn: asyncpg.Connection, given_: list[Action], data: st.DataObject) -> None:
    await restart(conn)
    places = [0, *data.draw(cuts(len(given_))), len(given_)]
    for begin, end in itertools.pairwise(places):
        if begin < end:
            await record(conn, given_[begin:end])
    users, table = ["ada", "bob"], onboarding_facts.Checklists()
    rebuilt = await table.rebuilt(conn, users, [f"user:{user}" for user in users], NOW)
    held = await table.kept(conn, users)
    assert rebuilt == held == fold([given_]).users
    assert [row[0] for row in await table.page(conn, "", 10)] == sorted(held)
    await table.delete(conn, users)
    assert await table.kept(conn, users) == {}
    assert {row[0] async for row in table.orphans(conn)} == set(held)
    await table.save(conn, list(rebuilt.values()))
    assert await table.kept(conn, users) == rebuilt


async def test_the_seeds_columns(conn: asyncpg.Connection) -> None:
    await restart(conn)
    steps = CATALOG.onboarding.steps
    shared = [act(f"s{n}", action="shared_content", minute=n) for n in (2, 1)]
    done = [act(step, COMPLETED, step=step, org="acme", minute=n) for n, step in enumerate(steps[:-1])]
    other = act("skip", SKIPPED, step=steps[-1], user="bob", org="acme", minute=40)
    await record(conn, [act("c", org="acme"), *shared, *done, other])
    row = await conn.fetchrow("SELECT * FROM user_onboarding WHERE user_id = 'ada'")
    assert dict(row) == {
        "user_id": "ada",
        "has_created_clip": True,
        "has_added_subtitles": False,
        "has_reframed_video": False,
        "has_shared": True,
        "first_clip_at": START,
        "first_subtitle_at": None,
        "first_reframe_at": None,
        "first_share_at": START + timedelta(minutes=1),
        "export_count": 2,
        "last_export_at": START + timedelta(minutes=2),
    }
    assert dict(await conn.fetchrow("SELECT * FROM organization_onboarding WHERE org_id = 'acme'")) == {
        "org_id": "acme",
        "onboarding_completed": True,
        "onboarding_skipped": True,
        "onboarding_completed_at": START + timedelta(minutes=40),
        "current_onboarding_step": "COMPLETED",
    }
    row = await conn.fetchrow("SELECT * FROM onboarding_progress WHERE user_id = 'bob'")
    assert (row["status"], row["completed"], row["skipped"], row["org_id"]) == ("skipped", False, True, "acme")
    held = await conn.fetch("SELECT org_id, qualified_at FROM onboarding_organizations")
    assert [tuple(row) for row in held] == [("acme", START)]


async def test_the_views_follow_the_catalog(conn: asyncpg.Connection) -> None:
    await restart(conn)
    await record(conn, [act("1", COMPLETED, org="acme")])
    query = "SELECT current_onboarding_step FROM organization_onboarding WHERE org_id = 'acme'"
    listed = "SELECT step FROM onboarding_steps ORDER BY place"
    assert [row["step"] for row in await conn.fetch(listed)] == list(CATALOG.onboarding.steps)
    assert await conn.fetchval(query) == "UPLOAD_VIDEO"
    shipped = stored_catalog.shipped()
    await stored_catalog.store(conn, shipped.replace('["WELCOME", "UPLOAD_VIDEO", ', '["WELCOME", "LOOK", '))
    assert await conn.fetchval(query) == "LOOK"
    await stored_catalog.store(conn, '[courses]\nunknown = "reject"\n')
    assert [row["step"] for row in await conn.fetch(listed)] == list(CATALOG.onboarding.steps)


async def test_a_user_whose_facts_are_gone_is_left_alone(conn: asyncpg.Connection) -> None:
    await restart(conn)
    old = act("1")
    old.received_at = NOW - timedelta(days=300)
    states = States(CATALOG)
    FAMILY.fold(states, [(None, old, KINDS[old.kind].decoder.decode(old.data))])
    await FAMILY.save(conn, states)
    assert await onboarding_facts.Checklists().kept(conn, ["ada"]) == {"ada": None}
    found = await onboarding.load(conn, ["ada", "nobody"])
    assert FAMILY.first_seen(states, "user:ada", NOW) == found["ada"].first_received() == old.received_at
    assert FAMILY.first_seen(states, "user:nobody", NOW) is None
