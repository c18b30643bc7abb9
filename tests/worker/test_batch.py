"""One batch in one transaction: what counts, what is skipped, what is left when something fails in between."""

from __future__ import annotations

from datetime import timedelta

import pytest

from db import keys, stream
from tests.jobs.making import NOW, START, make
from tests.worker.rig import Rig
from worker.batch import Cursor

DAY = timedelta(days=1)


async def test_what_is_applied_is_there_once_and_the_log_is_empty(rig: Rig) -> None:
    actions = [make(f"a{n}", session_id=f"s{n % 7}") for n in range(50)]
    await rig.put(actions, size=3)
    await rig.finish()
    await rig.check(actions)
    assert all([await rig.model(f"s{n}") for n in range(7)])


async def test_an_entry_at_or_below_the_position_is_skipped(rig: Rig) -> None:
    await rig.put([make("a", flags=4)])
    partition = rig.partition("session:s")
    first = await rig.apply(partition)
    assert first is not None
    assert len(first.fresh) == 1
    # Nothing was trimmed: the same entry is still in the stream, and neither this task nor another one takes it again.
    for cursor in (rig.cursors[partition], Cursor(partition, count=64)):
        again = await rig.apply(partition, cursor=cursor)
        assert again is not None
        assert (again.entries, again.position) == (0, first.position)
    assert await rig.fetch("SELECT interactions FROM user_sessions") == [1]


@pytest.mark.parametrize("at", [None, START], ids=["no at", "at"])
async def test_a_repeated_id_counts_once_in_a_batch_and_over_batches(rig: Rig, at: object) -> None:
    def copy(minutes: int) -> object:
        received = NOW + timedelta(minutes=minutes)
        return make("a", at=START if at else received, received_at=received)

    partition = rig.partition("session:s")
    await rig.put([copy(0), copy(1)], size=2)  # type: ignore[list-item]
    await rig.put([copy(2)])  # type: ignore[list-item]
    first = await rig.apply(partition)
    assert first is not None
    assert (len(first.fresh), len(first.duplicates)) == (1, 2)
    await rig.put([copy(3)])  # type: ignore[list-item]
    for cursor in (rig.cursors[partition], Cursor(partition, count=64)):
        await rig.apply(partition, cursor=cursor)
    assert await rig.fetch("SELECT interactions FROM user_sessions") == [1]
    assert await rig.fetch("SELECT count(*) FROM interaction_events") == [1]


@pytest.mark.parametrize("size", [1, 2], ids=["over batches", "in a batch"])
async def test_who_waits_is_not_told_the_outcome_of_another_kind(rig: Rig, size: int) -> None:
    """The id counts once, and whoever asked for something else learns that it was not done."""
    ended = make("a", "session.ended", {}, reply="p:1")
    viewed = make("a", "page.viewed", {"path": "/"}, reply="p:2")
    partition, replies = rig.partition("session:s"), []
    for actions in ([ended], [viewed]) if size == 1 else ([ended, viewed],):
        await rig.put(actions, size=size)
        done = await rig.apply(partition)
        assert done is not None
        replies += done.replies
    assert [(one.to, one.duplicate) for one in replies] == [("p:1", False), ("p:2", True)]
    assert replies[0].outcome == {"sessionId": "s"}
    assert replies[1].outcome["error"] == "id_reused"
    assert "session.ended" in replies[1].outcome["message"]
    assert await rig.fetch("SELECT kind FROM tracked_events") == ["session.ended"]


@pytest.mark.parametrize(("days", "facts"), [(1, 1), (6, 1), (7, 1), (9, 2)])
async def test_an_id_is_remembered_over_the_days_of_dedupe(rig: Rig, days: int, facts: int) -> None:
    await rig.put([make("a", received_at=NOW - days * DAY)])
    await rig.finish()
    await rig.put([make("a", received_at=NOW)])
    await rig.finish()
    assert await rig.fetch("SELECT count(*) FROM interaction_events") == [facts]


async def test_a_clock_that_is_ahead_does_not_shorten_the_days_of_dedupe(rig: Rig) -> None:
    await rig.put([make("a", received_at=NOW - 6 * DAY)])
    await rig.finish()
    await rig.put([make("a", received_at=NOW + 2 * DAY)])
    await rig.finish()
    await rig.put([make("a", received_at=NOW)])
    await rig.finish()
    assert await rig.fetch("SELECT count(*) FROM interaction_events") == [1]


async def test_the_same_id_of_other_subjects_and_tables_counts_for_each(rig: Rig) -> None:
    actions = [
        make("a", session_id="s1"),
        make("a", session_id="s2"),
        make("a", user_id="u"),
        make("a", anonymous_id="u"),
        make("a", "page.viewed", {}, session_id="s1"),
        make("a", "session.ended", {}, session_id="s1"),  # shares its table with the page view
    ]
    await rig.put(actions)
    await rig.finish()
    assert {table: len(rows) for table, rows in (await rig.facts()).items() if rows} == {
        "interaction_events": 4,
        "tracked_events": 1,
    }


async def test_an_id_of_ours_that_a_client_sends_again_counts_once(rig: Rig) -> None:
    ours, again = make("a", flags=4, received_at=NOW), make("a", received_at=NOW + timedelta(seconds=1))
    await rig.put([ours, again])
    await rig.finish()
    await rig.put([again])
    await rig.finish()
    await rig.check([ours])


async def test_states_are_loaded_where_another_worker_left_them(rig: Rig) -> None:
    partition = rig.partition("session:s")
    actions = [make(f"a{n}", at=START + timedelta(minutes=n)) for n in range(6)]
    for n, action in enumerate(actions):
        await rig.put([action])
        await rig.apply(partition, cursor=None if n % 2 else Cursor(partition, count=1))
    await rig.finish()
    await rig.check(actions)


async def test_the_positions_of_other_partitions_stay(rig: Rig) -> None:
    await rig.put([make("a")])
    await rig.apply(rig.partition("session:s"))
    moved = [position != stream.START for position in await rig.positions()]
    assert moved.count(True) == 1


async def test_a_batch_holds_about_as_many_actions_as_it_may(rig: Rig) -> None:
    partition = rig.partition("session:s")
    await rig.put([make(f"a{n}") for n in range(1000)], size=50)
    async with rig.pool.acquire() as conn:
        from worker import batch

        done = await batch.run(conn, rig.client, rig.server, Cursor(partition, count=2000), 7, 120)
    assert done is not None
    assert len(done.items) == 150
    assert await rig.client.xlen(keys.actions(partition)) == 20
    await rig.finish()
    assert await rig.fetch("SELECT interactions FROM user_sessions") == [1000]
