"""What is kept of days of the onboarding: at every moment what a plain reckoning of every user says."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Any, Final

import asyncpg
import pytest

from db import stored_catalog
from jobs.onboarding import days
from jobs.onboarding import facts as onboarding_facts
from jobs.onboarding import rows as stored
from jobs.onboarding.checklist import Checklist
from jobs.onboarding.days import DAY, Numbers, Step
from jobs.onboarding.family import Onboarding
from jobs.onboarding.kinds import COMPLETED, DONE, KINDS, SKIPPED
from jobs.onboarding.rebuilt_days import Days
from tests.jobs.making import START
from tests.jobs.test_onboarding import CATALOG, NAMES, act

FAMILY: Final = Onboarding()
STEPS: Final = list(CATALOG.onboarding.steps)
USERS: Final = [f"u{n}" for n in range(20)]
DECODED: Final = {kind.name: kind.decoder.decode for kind in KINDS}
MIDNIGHT: Final = START.replace(hour=0, minute=0, second=0)


def drawn(rng: random.Random, number: int) -> list[tuple[Any, Any, Any]]:
    """Items of a batch: everybody does anything, from about a day of his own on, out of order."""
    items = []
    for n in range(number):
        kind = rng.choice([DONE, COMPLETED, COMPLETED, SKIPPED])
        own: dict[str, Any] = {"action": rng.choice(NAMES)} if kind == DONE else {"step": rng.choice(STEPS)}
        if kind != DONE and rng.random() < 0.8:
            own["timeSpentSeconds"] = rng.choice([0, 1, 7, 999, 1004, 123_456])
        user = rng.randrange(len(USERS))
        minute = user % 6 * 1440 + round(rng.random() * 3000) + rng.choice([0, 0.001])
        action = act(f"a{n}", kind, user=USERS[user], minute=minute, **own)
        items.append((None, action, DECODED[kind](action.data)))
    return items


async def apply(conn: asyncpg.Connection, items: Sequence[tuple[Any, Any, Any]]) -> None:
    """A batch, as the worker has it."""
    states = await FAMILY.load(conn, items)
    FAMILY.fold(states, items)
    await FAMILY.save(conn, states)


async def passed(conn: asyncpg.Connection) -> None:
    """Passes until nothing is left."""
    while not (await days.count(conn)).is_done:
        pass


def _digits(seconds: float) -> float:
    """Three of them, half up, and no less than milliseconds."""
    exact = Decimal(str(seconds))
    return float(exact.quantize(Decimal((0, (1,), max(-3, exact.adjusted() - 2))), ROUND_HALF_UP))


def _reckon(users: Sequence[Checklist], begin: datetime, end: datetime, steps: Sequence[str]) -> Numbers:
    """User by user, with nothing kept."""
    found, spent, between = Numbers(), dict[str, list[float]](), dict[str, list[float]]()
    for user in users:
        first = min([row.created_at for row in user.steps.values()] + [row.first_at for row in user.actions.values()])
        if not begin <= first < end:
            continue
        found.users += 1
        for name, done in user.actions.items():
            number, times = found.actions.get(name, (0, 0))
            found.actions[name] = (number + 1, times + done.count)
        closed = [(step, user.steps[step]) for step in steps if step in user.steps]
        for step, row in closed:
            one = found.steps.setdefault(step, Step())
            one.completed += row.status == "completed"
            one.skipped += row.status == "skipped"
            one.ended += step == closed[-1][0]
            if row.time_spent_seconds is not None:
                spent.setdefault(step, []).append(row.time_spent_seconds)
        for (_, before), (step, row) in pairwise(closed):
            assert before.closed_at is not None
            assert row.closed_at is not None
            if row.closed_at >= before.closed_at:
                between.setdefault(step, []).append((row.closed_at - before.closed_at).total_seconds())
        if len(closed) == len(steps):
            found.all_skipped += any(row.status == "skipped" for _, row in closed)
            found.all_completed += all(row.status == "completed" for _, row in closed)
    for name, one in found.steps.items():
        one.spent = _histogram(spent.get(name, []))
        one.between = _histogram(between.get(name, []))
    return found


def _histogram(seconds: Sequence[float]) -> dict[float, int]:
    told = [_digits(one) for one in seconds]
    return {one: told.count(one) for one in told}


async def everybody(conn: asyncpg.Connection) -> list[Checklist]:
    """All that is kept of all users."""
    return [one for one in (await stored.load(conn, USERS)).values() if one.steps or one.actions]


async def is_right(conn: asyncpg.Connection, rng: random.Random) -> None:
    """Ranges of whole days, parts of days, and all."""
    users = await everybody(conn)
    steps, _ = await days.overview(conn, START, START + DAY)
    ranges = [(MIDNIGHT + n * DAY, MIDNIGHT + m * DAY) for n, m in ((0, 1), (0, 9), (-9, 9), (2, 5))]
    for _ in range(6):
        begin = START + timedelta(seconds=rng.randrange(-86_400, 600_000))
        ranges.append((begin, begin + timedelta(seconds=rng.randrange(1, 600_000))))
    for begin, end in ranges:
        _, found = await days.overview(conn, begin, end)
        assert found == _reckon(users, begin, end, steps), (begin, end)


@pytest.fixture(autouse=True)
async def _nothing_yet(conn: asyncpg.Connection) -> None:
    await conn.execute("DELETE FROM onboarding_changes")


@pytest.mark.parametrize("seed", range(8))
async def test_random_states(conn: asyncpg.Connection, seed: int) -> None:
    """Batches and passes in turns: what was counted is revised by what comes late, and nothing else is asked for."""
    rng = random.Random(seed)
    await is_right(conn, rng)
    for _ in range(6):
        await apply(conn, drawn(rng, rng.randrange(1, 200)))
        await passed(conn)
        assert await conn.fetchval("SELECT count(*) FROM onboarding_changes") == 0
        assert await conn.fetchval("SELECT count(*) FROM onboarding_days") > 0
        await is_right(conn, rng)
    assert await wrong(conn) == {}


async def wrong(conn: asyncpg.Connection) -> Mapping[str, Any]:
    """What a check of all days finds."""
    table, now = Days(), datetime.now(UTC)
    listed = [key for key, _ in await table.page(conn, "", 1000)]
    kept, rebuilt = await table.kept(conn, listed), await table.rebuilt(conn, listed, [], now)
    noted = {key for key, row in kept.items() if row is None}
    of = {key for key in listed if key not in noted and (kept.get(key) or rebuilt.get(key))}
    found = {key: table.differences(kept.get(key), rebuilt.get(key), now) for key in of}
    return {key: differences for key, differences in found.items() if differences}


async def test_days_are_read_not_users(conn: asyncpg.Connection) -> None:
    """Of whole days that were counted no user is looked at."""
    rng = random.Random(1)
    await apply(conn, drawn(rng, 100))
    await passed(conn)
    _, before = await days.overview(conn, MIDNIGHT - DAY, MIDNIGHT + 9 * DAY)
    kept = await conn.fetchval("SELECT count(*) FROM onboarding_days")
    await conn.execute("DELETE FROM onboarding_progress")
    await conn.execute("DELETE FROM onboarding_actions")
    _, after = await days.overview(conn, MIDNIGHT - DAY, MIDNIGHT + 9 * DAY)
    assert (before, kept > 2) == (after, True)


async def test_an_earlier_beginning_moves_a_user(conn: asyncpg.Connection) -> None:
    one = act("1", user="u1", minute=3 * 1440)
    await apply(conn, [(None, one, DECODED[DONE](one.data))])
    await passed(conn)
    late = act("2", user="u1")
    await apply(conn, [(None, late, DECODED[DONE](late.data))])
    noted = await conn.fetchval("SELECT days FROM onboarding_changes")
    assert noted == [START.date(), (START + 3 * DAY).date()]
    await passed(conn)
    assert [row["day"] for row in await conn.fetch("SELECT day FROM onboarding_days")] == [START.date()]


async def test_another_catalog(conn: asyncpg.Connection) -> None:
    """The answer is the new one at once; the next passes count every day anew."""
    rng = random.Random(2)
    await apply(conn, drawn(rng, 150))
    await passed(conn)
    await stored_catalog.store(
        conn, stored_catalog.shipped().replace('["WELCOME", "UPLOAD_VIDEO", ', '["LOOK", "WELCOME", ')
    )
    steps, _ = await days.overview(conn, START, START + DAY)
    assert steps[:3] == ["LOOK", "WELCOME", "VIEW_CLIPS"]
    await is_right(conn, rng)
    assert await wrong(conn) == {}, "no fault: not counted yet"
    await passed(conn)
    assert {tuple(row[0]) for row in await conn.fetch("SELECT steps FROM onboarding_days")} == {tuple(steps)}
    await is_right(conn, rng)
    assert await wrong(conn) == {}


async def test_more_days_than_a_pass_counts(conn: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(days, "DAYS", 2)
    rng = random.Random(3)
    await apply(conn, drawn(rng, 100))
    assert await days.count(conn) == (2, False)
    assert await conn.fetchval("SELECT count(*) FROM onboarding_days") == 2
    await is_right(conn, rng)
    await passed(conn)
    await is_right(conn, rng)
    assert await wrong(conn) == {}


async def test_a_check_finds_and_a_rebuild_mends(conn: asyncpg.Connection) -> None:
    rng = random.Random(4)
    await apply(conn, drawn(rng, 100))
    await passed(conn)
    first, *_, last = sorted(row["day"] for row in await conn.fetch("SELECT day FROM onboarding_days"))
    away = date(2001, 1, 1)
    copied = "INSERT INTO onboarding_days SELECT $1, steps, counted FROM onboarding_days WHERE day = $2"
    await conn.execute(copied, away, last)
    await conn.execute("DELETE FROM onboarding_days WHERE day = $1", last)
    await conn.execute("UPDATE onboarding_days SET counted = '\\x80' WHERE day = $1", first)
    found = await wrong(conn)
    assert found[last.isoformat()] == [("(row)", "missing", "there")]
    assert found[away.isoformat()] == [("(row)", "there", "no users")]
    assert "users" in {name for name, *_ in found[first.isoformat()]}
    assert len(found) == 3
    table = Days()
    rebuilt = await table.rebuilt(conn, list(found), [], datetime.now(UTC))
    await table.save(conn, list(rebuilt.values()))
    await table.delete(conn, [key for key in found if key not in rebuilt])
    assert await wrong(conn) == {}
    await days.note(conn, [first])
    assert (await table.kept(conn, [first.isoformat()])) == {first.isoformat(): None}, "left to the pass"


async def test_users_that_a_rebuild_writes_are_noted(conn: asyncpg.Connection) -> None:
    rng = random.Random(5)
    await apply(conn, drawn(rng, 100))
    await passed(conn)
    users = await everybody(conn)
    users[0].actions.clear()
    table = onboarding_facts.Checklists()
    await table.save(conn, users[:1])
    await table.delete(conn, [users[1].user_id])
    await passed(conn)
    await is_right(conn, rng)


def test_medians() -> None:
    rng = random.Random(6)
    assert days.median({}) is None
    for _ in range(200):
        values = [rng.choice([0.0, 1.0, 2.5, 40.0, 1e6]) for _ in range(rng.randrange(1, 9))]
        assert days.median({one: values.count(one) for one in values}) == statistics.median(values)
