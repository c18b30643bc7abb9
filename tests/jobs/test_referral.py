"""Referrals: any order, split and repetition leaves each organisation one referral, and each side one reward."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db import stored_catalog
from jobs import catalog
from jobs.action import OURS, Action, is_id
from jobs.families import BY_KIND
from jobs.family import Outcome
from jobs.referrals import attribution
from jobs.referrals import codes as referral_codes
from tests.jobs.making import NOW, START
from tests.jobs.referring import code_of, items, make, rebuilt_differences, state
from worker import apply

ORGS = ("a", "b", "c", "d", "e")
PAIRS = (("a", "b"), ("b", "c"), ("c", "d"))
CREDITS = {"amount": 10, "unit": "credits"}
CATALOG = """
[referrals]
prefix = "TAPE"
link = "https://x.example/{{code}}"
qualifyingAction = "created_clip"
[referrals.rewards]
unit = "points"
referrer = {amount}
referred = {amount}
"""
MINUTE = timedelta(minutes=1)
_few = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class World:
    """A database, the actions on their way to it, and what became of each."""

    def __init__(self, conn: asyncpg.Connection) -> None:
        self.conn = conn
        self.waiting: list[Action] = []
        """Follow-ups that are committed and not applied."""
        self.sent: list[Action] = []
        self.outcomes: dict[str, Outcome] = {}
        """Of those with a `reply`, which is the name here."""

    async def apply(self, *actions: Action) -> None:
        """One batch."""
        if not actions:
            return
        done = await apply.record(self.conn, items(actions), NOW - timedelta(days=8), replay=True)
        assert done.dead == []
        self.waiting += done.follow_ups
        self.sent += done.follow_ups
        self.outcomes |= {reply.to: reply.outcome for reply in done.replies}

    async def settle(self) -> None:
        """Until nothing is on its way."""
        while self.waiting:
            batch, self.waiting = self.waiting, []
            await self.apply(*batch)

    async def ask(self, action: Action) -> Outcome:
        """The outcome of one action, alone in its batch."""
        action.reply = action.id
        await self.apply(action)
        return self.outcomes[action.id]


@pytest.fixture
async def world(conn: asyncpg.Connection) -> World:
    """Of the test's own."""
    return World(conn)


async def issue(world: World, *orgs: str) -> None:
    """Their codes."""
    await world.apply(*[make(f"code-{org}", org, "code_requested") for org in orgs])


# Decisions


async def test_a_claim_and_what_comes_of_it(world: World) -> None:
    await issue(world, "a")
    claim = await world.ask(make("1", "b", "signed_up", {"code": code_of("a")}))
    told = {"referrerOrgId": "a", "code": code_of("a"), "status": "PENDING", "createdAt": START}
    assert claim == {"success": True, "isNew": True, "referral": told}
    done = await world.ask(make("2", "b", "qualified", at=START + MINUTE))
    assert done == {"success": True, "qualifiedAt": START + MINUTE, "reward": CREDITS}
    assert (await state(world.conn))["referrals"][0][3] == "COMPLETED"
    await world.settle()
    found = await state(world.conn)
    assert found["referrals"] == [("b", "a", code_of("a"), "REWARDED", START, START + MINUTE, True)]
    assert found["rewards"] == [("a", "b", "referrer", 10, "credits"), ("b", "b", "referred", 10, "credits")]
    assert found["effects"] == [("org:b", "referral.rewarded", "referral.rewarded")]
    assert [(one.subject, one.org_id) for one in world.sent] == [("org:a", "a"), ("org:b", "b")]


@pytest.mark.parametrize("code", [" {} ", "{}\n", "\u00a0{}\u2003"])
async def test_a_code_as_people_type_it(world: World, code: str) -> None:
    await issue(world, "a")
    typed = code.format(code_of("a").lower())
    assert (await world.ask(make("1", "b", "signed_up", {"code": typed})))["success"]


@pytest.mark.parametrize(
    "code", ["CL\u0131P2345", "\uff23\uff2c\uff29\uff30", "x", "CLIP", "' OR 1=1", "CL IP", "\U0001f600", "  "]
)
async def test_what_is_no_code(world: World, code: str) -> None:
    await issue(world, "a")
    assert (await world.ask(make("1", "b", "signed_up", {"code": code})))["error"] == "unknown_code"


async def test_a_look_alike_of_a_code_is_none(world: World) -> None:
    await issue(world, "a")
    for foreign in (code_of("a").replace("C", "\u0421"), code_of("a").lower().replace("i", "\u0131")):
        assert (await world.ask(make(foreign, "b", "signed_up", {"code": foreign})))["error"] == "unknown_code"


async def test_own_code_second_code_same_code_again(world: World) -> None:
    await issue(world, "a", "b", "c")
    assert (await world.ask(make("1", "b", "signed_up", {"code": code_of("b")})))["error"] == "own_code"
    assert (await world.ask(make("2", "b", "signed_up", {"code": code_of("a")})))["isNew"] is True
    again = await world.ask(make("3", "b", "signed_up", {"code": code_of("a").lower()}, at=START + MINUTE))
    assert (again["success"], again["isNew"], again["referral"]["createdAt"]) == (True, False, START)
    assert (await world.ask(make("4", "b", "signed_up", {"code": code_of("c")})))["error"] == "already_referred"
    assert (await state(world.conn))["referrals"] == [("b", "a", code_of("a"), "PENDING", START, None, False)]
    assert await rebuilt_differences(world.conn) == {}


@pytest.mark.parametrize("in_one_batch", [False, True])
async def test_qualified_before_it_came_by_a_code(world: World, in_one_batch: bool) -> None:
    await issue(world, "a")
    first = make("1", "b", "qualified", at=START + MINUTE)
    claim = make("2", "b", "signed_up", {"code": code_of("a")}, at=START + 2 * MINUTE, reply="claim")
    for batch in [[first, claim]] if in_one_batch else [[first], [claim]]:
        await world.apply(*batch)
    assert world.outcomes["claim"]["referral"]["status"] == "COMPLETED"
    assert world.outcomes["claim"]["reward"] == CREDITS
    await world.settle()
    at = START + 2 * MINUTE
    assert (await state(world.conn))["referrals"] == [("b", "a", code_of("a"), "REWARDED", at, at, True)]


@pytest.mark.parametrize("in_one_batch", [False, True])
async def test_nobody_is_referred_by_whom_it_referred(world: World, in_one_batch: bool) -> None:
    await issue(world, *ORGS)
    chain = [make(f"{n}", new, "signed_up", {"code": code_of(old)}) for n, (old, new) in enumerate(PAIRS)]
    back = make("back", "a", "signed_up", {"code": code_of("d")}, reply="back")
    for batch in [[*chain, back]] if in_one_batch else [[one] for one in (*chain, back)]:
        await world.apply(*batch)
    assert world.outcomes["back"]["error"] == "referral_cycle"
    assert (await world.ask(make("out", "a", "signed_up", {"code": code_of("e")})))["success"]


async def test_a_cycle_through_a_code_of_the_same_batch(world: World) -> None:
    """B's referral is in Postgres, its code is not: the chain above a code that comes into being counts, too."""
    await issue(world, "a")
    await world.apply(make("1", "b", "signed_up", {"code": code_of("a")}))
    claim = make("2", "a", "signed_up", {"code": code_of("b")}, reply="claim")
    await world.apply(make("code-b", "b", "code_requested"), claim)
    assert world.outcomes["claim"]["error"] == "referral_cycle"


async def test_a_code_is_known_from_its_request_on_not_before(world: World) -> None:
    early = make("1", "b", "signed_up", {"code": code_of("a")}, reply="early")
    late = make("2", "c", "signed_up", {"code": code_of("a")}, reply="late")
    await world.apply(early, make("code-a", "a", "code_requested"), late)
    assert world.outcomes["early"]["error"] == "unknown_code"
    assert world.outcomes["late"]["success"] is True


async def test_a_retry_gets_the_first_decision(world: World) -> None:
    claim = make("1", "b", "signed_up", {"code": code_of("a")})
    assert (await world.ask(claim))["error"] == "unknown_code"
    await issue(world, "a")
    assert (await world.ask(claim))["error"] == "unknown_code"
    assert (await world.ask(make("2", "b", "signed_up", {"code": code_of("a")})))["success"]


async def test_the_earliest_qualification_counts_even_behind_the_reward(world: World) -> None:
    await issue(world, "a")
    await world.apply(make("1", "b", "signed_up", {"code": code_of("a")}))
    await world.apply(make("2", "b", "qualified", at=START + 9 * MINUTE))
    await world.settle()
    await world.apply(make("3", "b", "qualified", at=START + 3 * MINUTE))
    await world.settle()
    found = await state(world.conn)
    assert found["referrals"] == [("b", "a", code_of("a"), "REWARDED", START, START + 3 * MINUTE, True)]
    assert (len(found["rewards"]), len(world.sent)) == (2, 2)


@pytest.mark.parametrize(
    ("org", "referrer", "referred"),
    [
        ("a", "a", "c"),
        ("a", "a", "x"),
        ("b", "a", "b"),
        ("c", "a", "b"),
        ("a", "b", "a"),
        ("b", "b", "b"),
        ("a", "c", "b"),
    ],
)
async def test_a_reward_takes_effect_only_when_it_is_true(world: World, org: str, referrer: str, referred: str) -> None:
    """B came by A and is qualified, C came by A and is not; nobody has told A yet."""
    await issue(world, "a")
    claims = [make(f"claim-{one}", one, "signed_up", {"code": code_of("a")}) for one in "bc"]
    await world.apply(*claims, make("q", "b", "qualified"))
    before = await state(world.conn)
    data = {"referrerOrgId": referrer, "referredOrgId": referred}
    assert (await world.ask(make("forged", org, "rewarded", data)))["error"] == "unknown_referral"
    await world.settle()
    after = await state(world.conn)
    assert len(before["rewards"]) == 1
    assert after["rewards"] == [("a", "b", "referrer", 10, "credits"), ("b", "b", "referred", 10, "credits")]
    assert len(after["effects"]) == 1


async def test_a_true_reward_sent_by_a_service_counts_once(world: World) -> None:
    await issue(world, "a")
    await world.apply(make("1", "b", "signed_up", {"code": code_of("a")}), make("2", "b", "qualified"))
    data = {"referrerOrgId": "a", "referredOrgId": "b"}
    assert (await world.ask(make("own", "a", "rewarded", data)))["isNew"] is True
    await world.settle()
    assert (await world.ask(make("again", "b", "rewarded", data))) == {"success": True, "isNew": False}
    await stored_catalog.store(world.conn, CATALOG.format(amount=99))
    assert (await world.ask(make("more", "a", "rewarded", data))) == {"success": True, "isNew": False}
    await world.settle()
    found = await state(world.conn)
    assert [row[3] for row in found["rewards"]] == [10, 10]
    assert (len(found["effects"]), len(world.sent)) == (1, 2)


async def test_no_client_can_use_up_the_id_of_a_follow_up(world: World) -> None:
    await issue(world, "a")
    await world.apply(make("1", "b", "signed_up", {"code": code_of("a")}), make("2", "b", "qualified"))
    await world.settle()
    assert [action.id for action in world.sent] == 2 * [f"{OURS}rewarded:b"]
    assert not any(is_id(action.id) for action in world.sent)


async def test_rewards_are_those_of_the_catalog_at_the_time(world: World) -> None:
    for number, amount in enumerate((7, 9)):
        await stored_catalog.store(world.conn, CATALOG.format(amount=amount))
        org, new = f"old{number}", f"new{number}"
        code = (await world.ask(make(f"code{number}", org, "code_requested")))["code"]
        assert code.startswith("TAPE")
        await world.apply(make(f"s{number}", new, "signed_up", {"code": code}), make(f"q{number}", new, "qualified"))
        await world.settle()
    assert [row[2:] for row in (await state(world.conn))["rewards"]] == [
        *(("referred", 7, "points"), ("referred", 9, "points")),
        *(("referrer", 7, "points"), ("referrer", 9, "points")),
    ]
    assert await rebuilt_differences(world.conn) == {}


# Codes


def test_candidates_have_no_letters_that_look_alike_and_grow() -> None:
    codes = [referral_codes.candidate("CLIP", f"org-{n}", n % 9) for n in range(2000)]
    assert {len(code) - 4 for code in codes} == {4, 5, 6}
    letters = set("".join(code[4:] for code in codes))
    assert letters == set(referral_codes.ALPHABET)
    assert len(letters) == 32
    assert letters.isdisjoint("01IO")
    assert referral_codes.candidate("", "org", 3) == referral_codes.candidate("", "org", 3)


async def test_when_nearly_every_code_is_taken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(referral_codes, "ALPHABET", "AB")
    orgs = [f"org{number}" for number in range(100)]
    await issue(world, *orgs[:40])
    await issue(world, *orgs[30:])
    found = (await state(world.conn))["organisations"]
    codes = {code for _, code, _, _ in found}
    assert len(codes) == 100
    assert max(map(len, codes)) > len("CLIP") + 4
    assert sorted((code, org) for org, code, _, _ in found) == (await state(world.conn))["codes"]


async def test_a_code_never_changes(world: World) -> None:
    await issue(world, "a")
    before = await state(world.conn)
    assert (await world.ask(make("again", "a", "code_requested", at=START + MINUTE))) == {"code": code_of("a")}
    await world.conn.execute("DELETE FROM referral_organizations")  # as if all were lost but the code
    await world.conn.execute("DELETE FROM referral_events")
    assert (await world.ask(make("anew", "a", "code_requested"))) == {"code": code_of("a")}
    assert (await state(world.conn))["codes"] == before["codes"]


# Properties


@st.composite
def told(draw: st.DrawFn) -> list[Action]:
    """Distinct actions of a few organisations: requests for codes, claims of good and bad codes, qualifications."""
    codes = st.sampled_from([*map(code_of, ORGS), "NOPE"]).map(lambda code: {"code": code})
    payloads = st.one_of(
        st.tuples(st.just("code_requested"), st.just({})),
        st.tuples(st.just("qualified"), st.just({})),
        *3 * [st.tuples(st.just("signed_up"), codes)],
    )
    moments = st.integers(0, 5).map(lambda n: START + n * MINUTE)
    orgs = st.sampled_from(ORGS)
    rows = draw(st.lists(st.tuples(orgs, payloads, moments), min_size=5, max_size=25))
    issued = draw(st.sampled_from([[], [*ORGS], [*ORGS]]))
    return [make(f"code-{org}", org, "code_requested") for org in issued] + [
        make(f"x{n}", org, kind, data, at=at) for n, (org, (kind, data), at) in enumerate(rows)
    ]


def expected(actions: Sequence[Action]) -> dict[str, tuple[str, str, datetime, datetime | None]]:
    """Referred -> referrer, status in the end, created, completed: claims in their order, all else in any."""
    codes: set[str] = set()
    above: dict[str, str] = {}
    created: dict[str, datetime] = {}
    qualified: dict[str, datetime] = {}
    for action in actions:
        org = action.org_id or ""
        if action.kind == "referral.code_requested":
            codes.add(org)
        if action.kind == "referral.qualified":
            qualified[org] = min(qualified.get(org, action.at), action.at)
        if action.kind != "referral.signed_up":
            continue
        referrer = next((one for one in codes if code_of(one) == json.loads(action.data)["code"]), None)
        if referrer is None or org in above or org in [referrer, *ancestors(above, referrer)]:
            continue
        above[org], created[org] = referrer, action.at
    return {
        org: (
            above[org],
            "REWARDED" if org in qualified else "PENDING",
            created[org],
            max(created[org], qualified[org]) if org in qualified else None,
        )
        for org in above
    }


def ancestors(above: dict[str, str], org: str) -> list[str]:
    """Whoever stands above, one after another; more than there are would be a cycle."""
    found: list[str] = []
    while org in above:
        org = above[org]
        found.append(org)
        assert len(found) <= len(ORGS), "a cycle"
    return found


class savepoint:  # noqa: N801 a context, read as one
    """What an example did is gone before the next one."""

    def __init__(self, conn: asyncpg.Connection) -> None:
        self.transaction = conn.transaction()

    async def __aenter__(self) -> None:
        await self.transaction.start()

    async def __aexit__(self, *_: object) -> None:
        await self.transaction.rollback()


@_few
@given(actions=told(), seed=st.integers(0, 1000))
async def test_any_split_repetition_and_delay_of_follow_ups(
    conn: asyncpg.Connection, actions: list[Action], seed: int
) -> None:
    rng = random.Random(seed)
    async with savepoint(conn):
        world = World(conn)
        left = list(actions)
        while left:
            size = rng.randint(1, 6)
            batch, left = left[:size], left[size:]
            gone = actions[: len(actions) - len(left)]
            ready = [one for one in world.waiting if rng.random() < 0.4]
            world.waiting = [one for one in world.waiting if one not in ready]
            again = rng.sample(gone, len(gone) // 3) + [one for one in world.sent if rng.random() < 0.2]
            rng.shuffle(ready)
            await world.apply(*ready, *batch, *again)
        await world.settle()
        await check(conn, actions)
        before = await state(conn)
        await world.apply(*actions, *world.sent)
        assert world.waiting == []
        assert await state(conn) == before


@_few
@given(actions=told(), seed=st.integers(0, 1000))
async def test_qualifications_may_arrive_at_any_time(
    conn: asyncpg.Connection, actions: list[Action], seed: int
) -> None:
    """Only claims and codes are decided in order."""
    kept = [action for action in actions if action.kind != "referral.qualified"]
    for action in [one for one in actions if one.kind == "referral.qualified"]:
        kept.insert(random.Random(seed).randint(0, len(kept)), action)
    async with savepoint(conn):
        world = World(conn)
        for action in kept:
            await world.apply(action)
        await world.settle()
        await check(conn, actions)


async def check(conn: asyncpg.Connection, actions: Sequence[Action]) -> None:
    """Referrals, ledger and effects are what the contract says; a rebuild says so, too."""
    wanted = expected(actions)
    found = await state(conn)
    assert {row[0]: (row[1], row[3], row[4], row[5]) for row in found["referrals"]} == wanted
    above = {row[0]: row[1] for row in found["referrals"]}
    assert all(org not in ancestors(above, org) for org in above)
    done = sorted((org, row[0]) for org, row in wanted.items() if row[1] == "REWARDED")
    ledger = [(org, org, "referred") for org, _ in done] + [(referrer, org, "referrer") for org, referrer in done]
    assert [row[:3] for row in found["rewards"]] == sorted(ledger)
    assert [row[0] for row in found["effects"]] == [f"org:{org}" for org, _ in done]
    assert await rebuilt_differences(conn) == {}


# The family's interface


async def test_the_read_model_names_of_applied_actions_are_those_the_fold_published(conn: asyncpg.Connection) -> None:
    family = BY_KIND["referral.qualified"][0]
    done = await apply.record(conn, items([make("1", "a", "code_requested")]), NOW - timedelta(days=8), replay=False)
    assert dict(done.models) == {"referral:a": b'{"code":"%s"}' % code_of("a").encode()}
    assert list(await family.model_names(conn, items([make("1", "a", "code_requested")]))) == ["referral:a"]


async def test_an_organisation_with_nothing_but_a_refused_claim_is_looked_up_all_the_same(world: World) -> None:
    """Its row is there, so that the worker does not take a retry for the first."""
    await world.apply(make("1", "b", "signed_up", {"code": "NOPE"}))
    family = BY_KIND["referral.qualified"][0]
    states: Any = await family.load(world.conn, items([make("1", "b", "signed_up", {"code": "NOPE"})]))
    assert family.first_seen(states, "org:b", NOW) == NOW
    assert family.first_seen(states, "org:never", NOW) is None


def test_a_cycle_that_should_not_be_there_is_no_endless_loop() -> None:
    states = attribution.States(catalog.default().referrals.rewards)
    states.referrers = {"a": "b", "b": "a"}
    assert states.stands_above("b", "a")
    assert not states.stands_above("c", "a")
    assert not states.stands_above("a", "d")
    assert states.stands_above("d", "d")


def test_normal() -> None:
    assert attribution.normal(" clip2345\t") == "CLIP2345"
    assert attribution.normal("cl\u0131p") == "cl\u0131p"
