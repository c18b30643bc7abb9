"""The outbox's rows: written once, with a delivery for each destination that takes the type, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.effects import destinations
from jobs.effects import effect as effects
from jobs.effects import history as effect_log
from jobs.effects.destinations import Invalid
from jobs.family import Effect
from jobs.place import EffectPlace
from tests.worker.receiver import AT, effect


async def to(conn: asyncpg.Connection, *types: str) -> UUID:
    """A webhook for these types."""
    return (await destinations.create(conn, "https://a.example/", types, ""))[0].id


async def written(conn: asyncpg.Connection, destination: UUID | None = None) -> list[str]:
    """The effects' ids of the deliveries, in order of creation."""
    rows = await conn.fetch(
        "SELECT effect_id FROM deliveries WHERE $1::uuid IS NULL OR destination = $1 ORDER BY created_at, number",
        destination,
    )
    return [row["effect_id"] for row in rows]


async def test_nothing_for_nobody_but_the_effect_is_kept(conn: asyncpg.Connection) -> None:
    assert await effects.insert(conn, [effect(1)]) == []
    (row,) = await conn.fetch("SELECT * FROM effects")
    assert (row["subject"], row["id"], row["type"], row["at"]) == ("user:u-1", "e-1", "certificate.issued", AT)
    assert row["message_id"] == effects.message_id("user:u-1", "e-1")


@pytest.mark.parametrize(
    ("types", "taken"),
    [
        ([], ["a.b", "a.c", "ab", "first_x"]),
        (["a.b"], ["a.b"]),
        (["a.*"], ["a.b", "a.c"]),
        (["first_*", "ab"], ["ab", "first_x"]),
        (["*"], ["a.b", "a.c", "ab", "first_x"]),
        (["a.b", "a.*", "*"], ["a.b", "a.c", "ab", "first_x"]),
        (["a"], []),
        (["a_*"], []),
    ],
)
async def test_a_destination_chooses_by_type(conn: asyncpg.Connection, types: Sequence[str], taken: list[str]) -> None:
    one = await to(conn, *types)
    found = [Effect(type_, type_, "user:u", AT, {}) for type_ in ("a.b", "a.c", "ab", "first_x")]
    ids = await effects.insert(conn, found)
    assert len(set(ids)) == len(taken)
    assert await written(conn, one) == taken


async def test_a_replay_writes_nothing(conn: asyncpg.Connection) -> None:
    await to(conn)
    first = await effects.insert(conn, [effect(1), effect(2), effect(1)])
    assert len(first) == 2
    assert await effects.insert(conn, [effect(2), effect(1, other=1)]) == []
    assert await effects.insert(conn, [effect(3), effect(2)]) != []
    assert await written(conn) == ["e-1", "e-2", "e-3"]
    assert await conn.fetchval("SELECT data::text FROM effects WHERE id = 'e-1'") == '{"number": 1}'


async def test_the_same_id_of_another_subject_is_another_effect(conn: asyncpg.Connection) -> None:
    await to(conn)
    other = effect(1)._replace(subject="user:u-2")
    assert len(await effects.insert(conn, [effect(1), other])) == 2
    assert await conn.fetchval("SELECT count(DISTINCT message_id) FROM effects") == 2


async def test_the_order_of_creation_is_that_of_the_list_and_of_the_calls(conn: asyncpg.Connection) -> None:
    await to(conn)
    await effects.insert(conn, [effect(n) for n in (3, 1, 2)])
    await effects.insert(conn, [effect(n) for n in (9, 0)])
    assert await written(conn) == ["e-3", "e-1", "e-2", "e-9", "e-0"]


async def test_it_goes_with_the_transaction(conn: asyncpg.Connection) -> None:
    await to(conn)
    transaction = conn.transaction()
    await transaction.start()
    await effects.insert(conn, [effect(1)])
    await transaction.rollback()
    assert await conn.fetchval("SELECT count(*) FROM effects") == 0
    assert await written(conn) == []


async def test_a_disabled_destination_gets_nothing(conn: asyncpg.Connection) -> None:
    one, other = await to(conn), await to(conn)
    await conn.execute("UPDATE destinations SET disabled_at = now() WHERE id = $1", one)
    assert len(await effects.insert(conn, [effect(1)])) == 1
    assert await written(conn, other) == ["e-1"]


async def test_any_json_survives(conn: asyncpg.Connection) -> None:
    data = {"text": 'Zoë „𝄞“ \\ " \t', "deep": [{"n": 1.5, "big": 1 << 60, "none": None}], "": True}
    await effects.insert(conn, [effect(1)._replace(data=data)])
    (one,) = await effect_log.find(conn, [effects.message_id("user:u-1", "e-1")])
    assert effect_log.as_json(one)
    assert msgspec.json.decode(one.data) == data


async def test_a_thousand_effects_for_ten_destinations_in_one_statement(conn: asyncpg.Connection) -> None:
    for _ in range(10):
        await to(conn)
    assert len(await effects.insert(conn, [effect(n) for n in range(1000)])) == 10_000


@given(st.datetimes(), st.integers(0, 1 << 30), st.from_regex(r"\Amsg_[a-z0-9]{1,30}\Z"))
def test_a_cursor_comes_back_as_it_was(at: datetime, number: int, last: str) -> None:
    one = EffectPlace(at.replace(tzinfo=UTC), number, last)
    assert EffectPlace.parse(str(one)) == one


@given(st.text())
def test_what_is_no_cursor_is_told(text: str) -> None:
    try:
        EffectPlace.parse(text)
    except ValueError as error:
        assert str(error) == "this is no cursor of an earlier answer"  # noqa: PT017


@given(st.text())
def test_any_text_as_a_url_is_judged(text: str) -> None:
    try:
        found = destinations.check_url(text, production=True)
    except Invalid as error:
        assert error.code == "invalid_webhook"  # noqa: PT017
    else:
        assert found.scheme == "https"
        assert found.host
