"""Dead letters: shown, sent again once, put away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from db import connect, keys, stream
from jobs import dead, dead_filter
from jobs.action import OWN_ID, Action
from jobs.dead_filter import Filter
from tests.api.service import Service
from tests.jobs.commands import Operator, settled, until
from worker import dead_letters
from worker.dead_letters import DeadLetter

CLICK = b'{"eventType":"click","category":"nest"}'


def action(action_id: str, subject: str = "session:s1", *, days: float = 0, data: bytes = CLICK) -> Action:
    """An accepted interaction whose id is ours, and whose sender waited."""
    now = datetime.now(UTC) - timedelta(days=days)
    session = subject.removeprefix("session:")
    return Action(action_id, "interaction.recorded", subject, now, now, OWN_ID, data, session_id=session, reply="x:1")


async def bury(pipe: Service, *bodies: Action | bytes, code: str = "poison") -> list[UUID]:
    """Dead letters as the worker writes them; a body that is bytes cannot be decoded."""
    ids: list[UUID] = []
    for body in bodies:
        named = (body.id, body.kind, body.subject) if isinstance(body, Action) else ("", "", "")
        raw = msgspec.msgpack.encode(body) if isinstance(body, Action) else body
        ids.append(
            await pipe.sql.fetchval(
                "INSERT INTO dead_letters (partition, position, action_id, kind, subject, code, message, body) "
                "VALUES (0, '1-0', $1, $2, $3, $4, E'wh\\x1b[31my [bold]', $5) RETURNING id",
                *(*named, code, raw),
            )
        )
    return ids


async def facts(pipe: Service) -> list[str]:
    """The ids of the interactions, when all is applied."""
    await settled(pipe)
    rows = await pipe.sql.fetch("SELECT id FROM interaction_events ORDER BY id")
    return [row["id"] for row in rows]


async def chunk(*ids: UUID) -> AsyncIterator[list[UUID]]:
    """All at once."""
    yield list(ids)


async def test_a_letter_is_sent_again_once(pipe: Service, operator: Operator) -> None:
    ids = await bury(pipe, action("a"), action("b"), action("c", "session:s2"))
    ran = await operator.run("dead", "retry", str(ids[0]))
    assert ran == (0, "1 sent again, 0 cannot be\n", "")
    assert await facts(pipe) == ["a"]
    again = await operator.run("dead", "retry", str(ids[0]))
    assert (again.code, again.out.splitlines()[-1]) == (1, "none of these is open")
    assert (await operator.run("dead", "retry", "--all")).out == "2 sent again, 0 cannot be\n"
    assert await facts(pipe) == ["a", "b", "c"]
    assert (await operator.run("dead", "list")).out == "no dead letters\n"
    assert (await operator.run("dead", "list", "--all")).out.count("retried") == 3


async def test_two_operators_at_once(pipe: Service) -> None:
    ids = await bury(pipe, *(action(f"a{number:02d}", f"session:s{number}") for number in range(50)))

    async def operate() -> int:
        conn = await connect.postgres(pipe.settings.database_url)
        try:
            return (await dead.retry(conn, pipe.redis, pipe.settings, chunk(*ids))).sent
        finally:
            await conn.close()

    sent = await asyncio.gather(operate(), operate(), operate())
    assert sum(sent) == 50
    assert await facts(pipe) == [f"a{number:02d}" for number in range(50)]


async def test_dying_between_the_append_and_the_mark(pipe: Service) -> None:
    """The action is in the log and the letter still open: the next retry sends it again, and it counts once."""
    ids = await bury(pipe, action("a"))

    async with pipe.sql.acquire() as conn:
        log = await dead.opened_log(conn, pipe.redis, pipe.settings)
        transaction = conn.transaction()
        await transaction.start()
        assert (await dead.Retry(pipe.redis, log, 90).chunk(conn, ids)).sent == 1
        await transaction.rollback()
        await log.stop()
        assert await facts(pipe) == ["a"]
        assert (await dead.retry(conn, pipe.redis, pipe.settings, chunk(*ids))).sent == 1
    assert await facts(pipe) == ["a"]
    assert await pipe.sql.fetchval("SELECT interactions FROM user_sessions") == 1
    assert await pipe.sql.fetchval("SELECT count(*) FROM dead_letters WHERE retried_at IS NULL") == 0


async def test_what_cannot_be_retried(pipe: Service, operator: Operator) -> None:
    ids = await bury(pipe, b"\xc1\x00", action("old", days=95))
    await bury(pipe, action("late", days=40), code="invalid_data")
    ran = await operator.run("dead", "retry", "--all")
    assert ran.code == 1
    assert "1 sent again, 2 cannot be" in ran.out
    assert f"{ids[0]} it cannot be decoded" in ran.err
    assert f"{ids[1]} it arrived" in ran.err
    assert await facts(pipe) == ["late"]  # its day was gone, and has been made
    ran = await operator.run("dead", "discard", "--all", "--code", "poison", "--yes")
    assert ran == (0, "2 discarded\n", "")
    assert (await operator.run("dead", "discard", str(ids[0]))).code == 1


async def test_odd_bytes_are_shown_safely(pipe: Service, operator: Operator) -> None:
    odd = action("a\x1b[2J", "session:\u202e[red]", data=b'{"a":"\xff\\ud800')
    ids = await bury(pipe, odd, b"\xc1\x1b[2J")
    ran = await operator.run("dead", "list")
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert "wh\ufffd[31my [bold]" in ran.out
    assert ran.out.endswith("2 poison\n")
    ran = await operator.run("dead", "show", *map(str, ids))
    assert ran.out.isascii()
    assert "\x1b" not in ran.out
    first, end = json.JSONDecoder().raw_decode(ran.out)
    second = json.loads(ran.out[end:])
    assert first["action"]["data"] == '{"a":"\\xff\\ud800'
    assert second["bytes"] == "c11b5b324a"


async def test_what_the_worker_buries_can_be_looked_at(pipe: Service, operator: Operator) -> None:
    """From the log to the list: an entry that is no MessagePack, and a kind that nobody knows."""
    unknown = msgspec.structs.replace(action("a"), kind="future.kind")
    for body in (b"\xc1", stream.pack([msgspec.msgpack.encode(unknown)])):
        await pipe.redis.xadd(keys.actions(0), {"b": body})

    async def buried() -> bool:
        return bool(await pipe.sql.fetchval("SELECT count(*) = 2 FROM dead_letters"))

    await until(buried)
    ran = await operator.run("dead", "list")
    assert "undecodable" in ran.out
    assert "future.kind" in ran.out
    ran = await operator.run("dead", "retry", "--all", "--family", "tracking", "--kind", "future.kind")
    assert ran.out.splitlines()[0] == "0 sent again, 0 cannot be"
    ran = await operator.run("dead", "retry", "--all", "--code", "unknown_kind", "--kind", "future.kind")
    assert ran.out == "1 sent again, 0 cannot be\n"


async def test_a_letter_that_dies_again_is_retried_once_by_one_command(pipe: Service) -> None:
    """However fast the worker buries it anew, and whatever id the new letter gets."""
    unknown = msgspec.structs.replace(action("a"), kind="future.kind")
    (first,) = await bury(pipe, unknown)
    async with pipe.sql.acquire() as conn:
        chunks = dead_filter.found(conn, Filter())
        assert await anext(chunks) == [first]
        assert (await dead.retry(conn, pipe.redis, pipe.settings, chunk(first))).sent == 1
        await settled(pipe)
        await conn.execute(
            "UPDATE dead_letters SET id = 'ffffffff-ffff-ffff-ffff-ffffffffffff' WHERE retried_at IS NULL"
        )
        assert [ids async for ids in chunks] == []
    assert await pipe.sql.fetchval("SELECT count(*) FROM dead_letters") == 2


async def test_a_letter_died_when_it_was_buried_not_when_its_batch_began(pipe: Service) -> None:
    """Else the command that retried its action would find it again, as one that was there before."""
    (first,) = await bury(pipe, action("a"))
    async with pipe.sql.acquire() as conn, pipe.sql.acquire() as worker:
        async with worker.transaction():
            await worker.fetchval("SELECT now()")
            chunks = dead_filter.found(conn, Filter())
            assert await anext(chunks) == [first]
            await dead_letters.bury(worker, 0, [DeadLetter(stream.START, "a", "k", "s", "poison", "anew", b"")])
        await conn.execute("UPDATE dead_letters SET id = 'ffffffff-ffff-ffff-ffff-ffffffffffff' WHERE message = 'anew'")
        assert [ids async for ids in chunks] == []


async def test_one_clear_line(operator: Operator) -> None:
    none = "00000000-0000-0000-0000-000000000000"
    for words, line in {
        ("retry",): "name the letters, or give --all",
        ("retry", none, "--all"): "name the letters, or give --all",
        ("discard", "x"): "an id is a UUID",
        ("retry", "--all", "--family", "x"): "--family is one of tracking",
        ("show", none): "there is no such dead letter",
    }.items():
        ran = await operator.run("dead", *words)
        assert ran.code > 0
        assert line in ran.err
    away = await operator.run("dead", "list", MILEPOST_DATABASE_URL="postgresql://127.0.0.1:1/x")
    assert away.code == 1
    assert away.err.startswith("cannot use Postgres at 127.0.0.1:1/x")
    assert away.err.count("\n") == 1
