"""Referrals on 8 partitions: rival workers, claims that race, processes that die, logs that are read again."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from graphlib import TopologicalSorter
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from db import ending, keys, metrics
from db.appending import Log
from db.settings import Settings
from jobs.action import Action
from jobs.referrals import codes
from tests.jobs.making import NOW, START
from tests.jobs.referring import code_of, items, make, rebuilt_differences, state
from tests.worker import rig as rigs
from tests.worker.rig import Rig, until
from tests.worker.test_kill import drained, lone, victim  # noqa: F401
from worker import apply, follow_ups
from worker.applied import Applied
from worker.drain import Drain
from worker.follow_ups import FollowUps

MINUTE = timedelta(minutes=1)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """As many partitions as by default."""
    return settings.model_copy(update={"partitions": 8})


@asynccontextmanager
async def sender(rig: Rig) -> AsyncIterator[FollowUps]:
    """What a worker process sends its follow-ups with."""
    journal = Log(rig.client, rig.settings.partitions, sys.maxsize)
    journal.refusal = None
    journal.start()
    try:
        yield FollowUps(rig.pool, journal)
    finally:
        await journal.stop()


@asynccontextmanager
async def workers(settings: Settings, number: int) -> AsyncIterator[list[Rig]]:
    """So many of them, with connections of their own, draining until the block ends."""
    async with AsyncExitStack() as stack:
        found = [await stack.enter_async_context(rigs.rig(settings)) for _ in range(number)]
        ups = [await stack.enter_async_context(sender(one)) for one in found]
        tasks = [
            asyncio.create_task(Drain(settings, one.pool, one.client, one.server, up).run())
            for one, up in zip(found, ups, strict=True)
        ]
        try:
            yield found
        finally:
            await asyncio.gather(*map(ending.ended, tasks))


async def quiet(rig: Rig) -> None:
    """Until nothing is on its way, neither in the log nor in the outbox."""

    async def is_quiet() -> bool:
        return await rig.is_done() and await rig.fetch("SELECT count(*) FROM follow_ups") == [0]

    await until(is_quiet, "all follow-ups are applied")
    assert await rig.is_done()


async def settle(rig: Rig) -> None:
    """Drain, and sweep the follow-ups that dead processes left, until there is neither."""
    async with sender(rig) as ups:
        while True:
            await rig.finish()
            await rig.pool.execute("UPDATE follow_ups SET created_at = created_at - interval '1 hour'")
            if not await ups.sweep():
                return


async def check(rig: Rig) -> dict[str, list[tuple[Any, ...]]]:
    """Whatever the order was: no cycle, rewards and effects for each completed referral once, facts that say so."""
    found = await state(rig.pool)
    TopologicalSorter({row[0]: [row[1]] for row in found["referrals"]}).prepare()  # CycleError
    done = [(row[0], row[1]) for row in found["referrals"] if row[3] == "REWARDED"]
    ledger = [(org, org, "referred") for org, _ in done] + [(referrer, org, "referrer") for org, referrer in done]
    assert [row[:3] for row in found["rewards"]] == sorted(ledger)
    assert [row[0] for row in found["effects"]] == sorted(f"org:{org}" for org, _ in done)
    assert {row[3] for row in found["referrals"]} <= {"PENDING", "REWARDED"}
    assert sorted((row[1], row[0]) for row in found["organisations"] if row[1]) == found["codes"]
    assert await rig.dead() == []
    async with rig.pool.acquire() as conn, conn.transaction():
        assert await rebuilt_differences(conn) == {}
    return found


def claim(action_id: str, org: str, of: str) -> Action:
    """`org` came by the code of `of`."""
    return make(action_id, org, "signed_up", {"code": code_of(of)})


def apart(rig: Rig, number: int = 2) -> list[str]:
    """Organisations of as many partitions."""
    found: dict[int, str] = {}
    for n in range(1000):
        found.setdefault(rig.partition(f"org:o{n}"), f"o{n}")
    return list(found.values())[:number]


async def test_a_referral_over_three_partitions(settings: Settings) -> None:
    async with workers(settings, 1) as (rig,):
        a, b, c = apart(rig, 3)
        await rig.put([make(f"code-{org}", org, "code_requested") for org in (a, b, c)])
        await quiet(rig)
        await rig.client.zadd(keys.listened(rig.partition(f"org:{b}")), {f"org:{b}": NOW.timestamp() + 3600})
        await rig.put([claim("1", b, a), claim("2", c, b), make("3", c, "qualified"), make("4", b, "qualified")])
        await quiet(rig)
        found = await check(rig)
        assert [row[:2] for row in found["referrals"]] == sorted([(b, a), (c, b)])
        assert {row[3] for row in found["referrals"]} == {"REWARDED"}
        told = await rig.client.xrange(keys.live(rig.partition(f"org:{b}"), f"org:{b}"))
        events = [(fields[b"event"], json.loads(fields[b"body"])["status"]) for _, fields in told if fields[b"event"]]
        assert (b"referral", "REWARDED") in events


async def test_the_second_of_two_mutual_claims_waits_for_the_first(rig: Rig) -> None:
    """The one way to a cycle is that two batches do not see each other: they may not run at once."""
    a, b = apart(rig)
    await rig.put([make(f"code-{org}", org, "code_requested") for org in (a, b)])
    await rig.finish()
    async with rig.pool.acquire() as one, rig.pool.acquire() as other:
        first = one.transaction()
        await first.start()
        await record(one, claim("1", a, b))
        waiting = asyncio.create_task(_in_transaction(other, claim("2", b, a)))
        await until(lambda: _waits(rig), "the second claim waits for the lock")
        assert not waiting.done()
        await record(one, make("3", a, "code_requested"), claim("4", a, b))  # more of it in the same transaction
        await first.commit()
        await waiting
    assert [row[:2] for row in (await check(rig))["referrals"]] == [(a, b)]
    outcome = await rig.fetch("SELECT outcome ->> 'error' FROM referral_events WHERE id = '2'")
    assert outcome == ["referral_cycle"]


async def record(conn: asyncpg.Connection, *actions: Action) -> Applied:
    """Steps 3 to 6."""
    return await apply.record(conn, items(actions), NOW - timedelta(days=8), replay=True)


async def _in_transaction(conn: asyncpg.Connection, action: Action) -> None:
    async with conn.transaction():
        await record(conn, action)


async def _waits(rig: Rig) -> bool:
    waits = await rig.fetch("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    return waits == [1]


async def test_whoever_claims_nothing_waits_for_nobody(rig: Rig) -> None:
    """The lock is for codes and claims: qualifications and known codes go past it."""
    a, b, c = apart(rig, 3)
    await rig.put([make(f"code-{org}", org, "code_requested") for org in (a, b)])
    await rig.finish()
    async with rig.pool.acquire() as one, rig.pool.acquire() as other, one.transaction():
        await record(one, claim("1", a, b))
        async with asyncio.timeout(60):
            await _in_transaction(other, make("2", b, "qualified"))
            await _in_transaction(other, make("3", c, "qualified"))
            await _in_transaction(other, make("4", b, "code_requested"))


async def test_two_workers_and_claims_in_every_direction(settings: Settings) -> None:
    """Pairs that claim each other at once, rings, chains, repetitions, qualifications anywhere between."""
    before = deadlocks()
    rng = random.Random(7)
    async with workers(settings, 2) as (rig, _):
        orgs = [f"o{number}" for number in range(120)]
        await rig.put([make(f"code-{org}", org, "code_requested") for org in orgs], size=3)
        await quiet(rig)
        pairs = list(zip(orgs[:60:2], orgs[1:60:2], strict=True))
        actions = [claim(f"m{a}", a, b) for a, b in pairs] + [claim(f"m{b}", b, a) for a, b in pairs]
        ring = orgs[60:80]
        actions += [claim(f"r{a}", a, b) for a, b in zip(ring, [*ring[1:], ring[0]], strict=True)]
        actions += [claim(f"x{n}", *rng.sample(orgs, 2)) for n in range(150)]
        actions += [make(f"q{org}", org, "qualified", at=START + rng.randint(-9, 9) * MINUTE) for org in orgs[::2]]
        actions += rng.sample(actions, 60)
        rng.shuffle(actions)
        await rig.put(actions, size=2)
        await quiet(rig)
        found = await check(rig)
        above = {row[0]: row[1] for row in found["referrals"]}
        assert all(above.get(a) != b or above.get(b) != a for a, b in pairs)
        outcomes = {
            row["id"]: row["error"]
            for row in await rig.pool.fetch("SELECT id, outcome ->> 'error' AS error FROM referral_events")
        }
        assert all({outcomes[f"m{a}"], outcomes[f"m{b}"]} != {None} for a, b in pairs)
        assert {None, "referral_cycle", "already_referred"} <= set(outcomes.values())
        qualified = {row[0] for row in found["organisations"] if row[2] is not None}
        assert {row[0] for row in found["referrals"] if row[3] == "REWARDED"} == qualified & above.keys()
    assert deadlocks() == before


def deadlocks() -> float:
    """How many batches ended by one."""
    found: float = metrics.APPLY_FAILED.labels("DeadlockDetectedError")._value.get()
    return found


async def test_two_workers_and_hardly_any_codes(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "ALPHABET", "AB")
    before = deadlocks()
    orgs = [f"o{number}" for number in range(150)]
    async with workers(settings, 2) as (rig, _):
        await rig.put([make(f"{n}-{org}", org, "code_requested") for n in range(2) for org in orgs], size=4)
        await quiet(rig)
        found = await check(rig)
        assert len({row[1] for row in found["organisations"]} - {None}) == 150
        kept = found["codes"]
        told = await rig.pool.fetch("SELECT org_id, outcome ->> 'code' AS code FROM referral_events")
        assert {(row["code"], row["org_id"]) for row in told} == set(kept)
    assert deadlocks() == before


async def test_a_process_that_dies_before_it_sends_its_follow_ups(rig: Rig) -> None:
    a, b = apart(rig)
    await rig.put([make("code", a, "code_requested")])
    await rig.finish()
    await rig.put([claim("1", b, a), make("2", b, "qualified")])
    await rig.finish()  # a drain that sends none, as if it had died behind each commit
    assert await rig.fetch("SELECT subject FROM follow_ups") == [f"org:{a}"]
    assert (await state(rig.pool))["referrals"][0][3] == "COMPLETED"
    await settle(rig)
    assert (await check(rig))["referrals"][0][3] == "REWARDED"


async def test_follow_ups_that_are_sent_twice_count_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dying between the append and the deletion: the next sweep appends them again."""
    a, b = apart(rig)
    await rig.put([make("code", a, "code_requested")])
    await rig.finish()
    await rig.put([claim("1", b, a), make("2", b, "qualified")])
    kept = follow_ups._delete
    for _ in range(2):
        monkeypatch.setattr(follow_ups, "_delete", _nothing)
        async with sender(rig) as ups:
            for _ in range(3):
                await rig.finish()
                await rig.pool.execute("UPDATE follow_ups SET created_at = created_at - interval '1 hour'")
                await ups.sweep()
        monkeypatch.setattr(follow_ups, "_delete", kept)
    await settle(rig)
    assert (await check(rig))["referrals"][0][3] == "REWARDED"


async def _nothing(*_: object) -> None:
    pass


async def test_a_log_that_is_read_again_changes_nothing(rig: Rig) -> None:
    orgs = apart(rig, 6)
    actions = [make(f"code-{org}", org, "code_requested") for org in orgs]
    actions += [claim(f"c{org}", org, of) for of, org in pairwise(orgs)]
    actions += [make(f"q{org}", org, "qualified") for org in orgs]
    for action in actions:
        await rig.put([action])
        await rig.finish()
    await settle(rig)
    before, facts = await check(rig), await rig.facts()
    assert len(before["rewards"]) == 10
    for number in range(rig.settings.partitions):
        await rig.client.delete(keys.generation(number), keys.actions(number))  # Redis came back without its data
    bodies = await rig.pool.fetch(
        "SELECT subject, id, kind, data, at, received_at FROM referral_events ORDER BY random()"
    )
    again = [
        Action(row["id"], row["kind"], row["subject"], row["at"], row["received_at"], 0, row["data"].encode())
        for row in bodies
    ]
    await rig.put(again, size=3)
    await settle(rig)
    assert await check(rig) == before
    assert await rig.facts() == facts


def some(number: int) -> Sequence[Action]:
    """A code, a claim of the code before, a qualification now or of the one before, in odd order, one of them twice."""
    org, before = f"o{number}", f"o{number - 1}"
    qualified = make(f"q{number}", org if number % 2 else before, "qualified", at=START + number * MINUTE)
    mine = [make(f"code{number}", org, "code_requested"), claim(f"c{number}", org, before), qualified]
    return [*(reversed(mine) if number % 3 else mine), mine[1]]


@pytest.mark.parametrize("when", ["before", "sent"])
async def test_a_kill_at_any_command_rewards_everybody_once(
    lone: Rig,  # noqa: F811
    victim: asyncio.subprocess.Process,  # noqa: F811
    when: str,
) -> None:
    ends = []
    for number in range(1, 100):
        await lone.put(some(number), size=2)
        ends.append(await drained(victim, number, when))
        await settle(lone)
        await check(lone)
        if ends[-1] == "done":
            break
    assert ends == ["killed"] * (len(ends) - 1) + ["done"]
    assert len(ends) > 10
    assert len((await state(lone.pool))["rewards"]) > 10
