"""What cannot be applied is buried with its reason, and what is beside it goes in."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
import structlog
from redis.asyncio import Redis

from db import keys, stream
from db.connect import Server
from jobs.action import Action
from tests.jobs.making import NOW, START, make
from tests.worker.rig import PATIENCE, Rig
from worker import apply, batch
from worker.applied import Applied, Item
from worker.batch import Cursor
from worker.poison import isolate


def poison(action_id: str, **ids: Any) -> Action:
    """An action that only Postgres refuses: its flags do not fit into a smallint."""
    return make(action_id, flags=1 << 20, **ids)


@pytest.mark.parametrize("bad", [{0}, {9}, {19}, {0, 19}, {3, 4, 5, 11}, set(range(20))], ids=str)
async def test_poison_goes_to_the_dead_letters_and_the_rest_is_applied(rig: Rig, bad: set[int]) -> None:
    sent = [poison(f"a{n:02}") if n in bad else make(f"a{n:02}") for n in range(20)]
    await rig.put(sent, size=7)
    await rig.finish()
    await rig.check([action for n, action in enumerate(sent) if n not in bad])
    assert await rig.dead() == [(f"a{n:02}", "poison") for n in sorted(bad)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"kind": "nobody.knows"}, "unknown_kind"),
        ({"data": b"[]"}, "invalid_data"),
        ({"data": b'{"eventType":"click","category":"a\\u0000b"}'}, "poison"),
        ({"data": b'{"eventType":"click","category":"a","elementId":"\\ud800"}'}, "invalid_data"),
        ({"id": "a\0b"}, "poison"),
        (
            {"id": secrets.token_hex(4500)},
            "poison",
        ),  # an index entry holds 2,704 bytes: Postgres calls that a program limit
        ({"at": START.replace(year=1, month=1, day=1), "subject": "user:u"}, None),
        ({"received_at": NOW + timedelta(days=100)}, "poison"),
        ({"received_at": NOW.replace(year=1)}, "poison"),
        ({"received_at": NOW.replace(year=9999)}, "poison"),
        (
            {"kind": "event.tracked", "data": b'{"event":"e","properties":' + b"[" * 200_000 + b"]" * 200_000 + b"}"},
            "invalid_data",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else str(value),
)
async def test_what_the_door_should_have_stopped_harms_nobody(
    rig: Rig, change: dict[str, Any], code: str | None
) -> None:
    bad = msgspec.structs.replace(make("bad"), **change)
    good = [make(f"a{n}") for n in range(4)]
    await rig.put_bytes(
        rig.partition("session:s"), stream.pack([msgspec.msgpack.encode(a) for a in (*good[:2], bad, *good[2:])])
    )
    await rig.finish()
    assert await rig.fetch("SELECT interactions FROM user_sessions WHERE session_id = 's'") == [4]
    assert [dead for _, dead in await rig.dead()] == ([code] if code else [])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        stream.pack([b"\xc1"]),
        stream.pack([msgspec.msgpack.encode({"not": "an action"})]),
        stream.pack([msgspec.msgpack.encode(["a", "page.viewed", "session:s", "2026-01-01T00:00:00", 1, 0, b"{}"])]),
        b"\x91" * 100_000,
    ],
    ids=["empty", "not MessagePack", "in it", "a map", "a time without offset", "deep"],
)
async def test_an_entry_that_is_none_is_buried_and_its_neighbours_applied(rig: Rig, body: bytes) -> None:
    partition = rig.partition("session:s")
    await rig.put([make("before")])
    await rig.put_bytes(partition, body)
    await rig.put([make("after")])
    await rig.finish()
    await rig.check([make("before"), make("after")])
    assert await rig.dead() == [("", "undecodable")]


async def test_500_poisons_in_a_row_do_not_stop_the_partition(rig: Rig) -> None:
    rig.settings = rig.settings.model_copy(update={"apply_timeout": 10.0})
    await rig.put([poison(f"p{n}") for n in range(600)] + [make("good")], size=30)
    await rig.finish()
    await rig.check([make("good")])
    assert len(await rig.dead()) == 600


async def test_dead_letters_of_a_batch_that_are_alike_are_one_line_of_the_log(rig: Rig) -> None:
    await rig.put([poison(f"p{n}") for n in range(20)], size=20)
    with structlog.testing.capture_logs() as logged:
        await rig.finish()
    told = [(line["number"], line["code"]) for line in logged if line["event"] == "actions went to the dead letters"]
    assert told == [(20, "poison")]


async def test_a_batch_that_isolates_is_small(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "ISOLATED", 20)
    sizes: list[int] = []

    async def counted(conn: asyncpg.Connection, items: Sequence[Item], *rest: Any) -> None:
        sizes.append(len(items))
        await isolate(conn, items, *rest)

    monkeypatch.setattr("worker.poison.isolate", counted)
    await rig.put([poison(f"p{n}") for n in range(60)], size=5)
    await rig.finish()
    assert max(sizes) == 20
    assert len(await rig.dead()) == 60


async def test_a_batch_that_never_fits_into_its_time_becomes_smaller(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    original = apply.record

    async def record(conn: asyncpg.Connection, items: Sequence[Item], *rest: Any) -> Applied:
        if len(items) > 5:
            raise TimeoutError
        return await original(conn, items, *rest)

    monkeypatch.setattr(apply, "record", record)
    actions = [make(f"a{n}") for n in range(40)]
    await rig.put(actions)
    await rig.finish()
    await rig.check(actions)


async def test_an_entry_of_more_poison_than_fits_into_the_time_comes_to_an_end(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    original_run, original, left = batch.run, apply.record, 0
    (place,) = {rig.partition(poison("p").subject), rig.partition(make("first").subject)}

    async def run(conn: asyncpg.Connection, client: Redis, server: Server, cursor: Cursor, *more: Any) -> Any:
        nonlocal left
        if cursor.partition == place:  # the others go round meanwhile
            left = 50  # of the 81 that it takes at once
        return await original_run(conn, client, server, cursor, *more)

    async def record(*given: Any) -> Applied:
        nonlocal left
        left -= 1
        if left < 0:
            raise TimeoutError
        return await original(*given)

    monkeypatch.setattr(batch, "run", run)
    monkeypatch.setattr(apply, "record", record)
    sent = [make("first"), *(poison(f"p{n}") for n in range(20)), make("good"), *(poison(f"q{n}") for n in range(20))]
    await rig.put(sent, size=len(sent))
    await rig.finish()
    await rig.check([make("first"), make("good")])
    assert await rig.dead() == sorted((one.id, "poison") for one in sent if one.flags >= 1 << 20)


async def test_who_waits_for_poison_is_told(rig: Rig) -> None:
    async with rig.client.pubsub(ignore_subscribe_messages=True) as channel:
        await channel.subscribe(keys.REPLY_CHANNEL + "api")
        await channel.get_message(timeout=1)
        ours = make("a", reply="api:1", user_id="u")
        sent = [
            ours,
            make("a", reply="api:2", user_id="u"),
            msgspec.structs.replace(poison("p", user_id="u"), reply="api:3"),
        ]
        await rig.put(sent, size=3)
        await rig.finish()
        await rig.put([make("a", reply="api:4", user_id="u")])
        await rig.finish()
        told: list[Any] = []
        async with asyncio.timeout(PATIENCE):
            while len(told) < 4:
                if message := await channel.get_message(timeout=1):
                    told += msgspec.json.decode(message["data"])
    session = {"sessionId": f"auto:user:u@{int(START.timestamp() * 1000)}"}
    assert sorted(told) == [
        ["1", session, False],
        ["2", session, True],
        ["3", {"error": "dead_letter"}, False],
        ["4", session, True],
    ]
