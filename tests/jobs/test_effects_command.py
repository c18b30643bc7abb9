"""`python -m jobs effects` as an operator runs it."""

from __future__ import annotations

import json

import pytest

from jobs.effects import effect as effects
from tests.api.service import Service
from tests.jobs.commands import Operator
from tests.worker import receiver
from tests.worker.receiver import effect, register


def name(number: int) -> str:
    """The id of an effect."""
    return effects.message_id("user:u-1", f"e-{number}")


@pytest.fixture
async def dead(pipe: Service) -> list[str]:
    """Three effects that are dead, one that waits."""
    await register(pipe.sql, "http://127.0.0.1:9/[bold]hook")
    kinds = ["certificate.issued", "usage.a", "usage.b", "usage.c"]
    await receiver.commit(pipe.sql, [effect(n, type_) for n, type_ in enumerate(kinds)])
    await pipe.sql.execute("UPDATE deliveries SET status = 'dead', reason = 'why' WHERE effect_id <> 'e-3'")
    return [name(n) for n in range(4)]


async def statuses(pipe: Service) -> list[str]:
    """Of the deliveries, in order."""
    return [row["status"] for row in await receiver.rows(pipe.sql)]


async def test_list_and_show(pipe: Service, operator: Operator, dead: list[str]) -> None:
    ran = await operator.run("effects", "list")
    assert ran.code == 0
    assert all(one in ran.out for one in dead)
    assert "http://127.0.0.1:9/[bold]hook dead (0)" in ran.out
    ran = await operator.run("effects", "list", "--status", "dead", "--type", "usage.*", "--limit", "1")
    assert [one for one in dead if one in ran.out] == [dead[2]]
    ran = await operator.run("effects", "list", "--status", "delivered")
    assert (ran.code, ran.out.strip()) == (0, "no effects")
    ran = await operator.run("effects", "show", dead[1])
    shown = json.loads(ran.out)
    assert (shown["id"], shown["type"], shown["deliveries"][0]["reason"]) == (dead[1], "usage.a", "why")
    ran = await operator.run("effects", "show", dead[1], "msg_nothing")
    assert (ran.code, ran.err.strip()) == (1, "only 1 of these 2 exist")


async def test_retry_by_id_and_by_filter(pipe: Service, operator: Operator, dead: list[str]) -> None:
    ran = await operator.run("effects", "retry", dead[0])
    assert (ran.code, ran.out.strip()) == (0, "1 go again")
    assert await statuses(pipe) == ["pending", "dead", "dead", "pending"]
    ran = await operator.run("effects", "retry", "--all", "--type", "usage.b")
    assert (ran.code, ran.out.strip()) == (0, "1 go again")
    ran = await operator.run("effects", "retry", "--all")
    assert (ran.code, ran.out.strip()) == (0, "1 go again")
    assert await statuses(pipe) == ["pending"] * 4
    await pipe.sql.execute("UPDATE deliveries SET status = 'dead'")
    await pipe.sql.execute("UPDATE destinations SET disabled_at = now()")
    ran = await operator.run("effects", "retry", "--all")
    assert (ran.code, ran.out.strip()) == (1, "0 go again, 4 cannot: disabled, or under way")
    assert (await operator.run("effects", "retry", "msg_nothing")).code == 1


async def test_discard_asks(pipe: Service, operator: Operator, dead: list[str]) -> None:
    ran = await operator.run("effects", "discard", "--all", stdin=b"n\n")
    assert ran.code == 1
    assert await statuses(pipe) == ["dead", "dead", "dead", "pending"]
    ran = await operator.run("effects", "discard", "--all", stdin=b"y\n")
    assert (ran.code, ran.out.strip().endswith("3 discarded")) == (0, True)
    ran = await operator.run("effects", "discard", "--all", "--status", "pending", "--yes")
    assert (ran.code, ran.out.strip()) == (0, "1 discarded")
    assert await statuses(pipe) == ["discarded"] * 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["retry"], "name the effects, or give --all"),
        (["retry", "msg_a", "--all"], "name the effects, or give --all"),
        (["discard", "msg_a", "--type", "a"], "name the effects, or give --all"),
        (["retry", "--all", "--status", "delivered"], "--status is one of dead, discarded, pending here"),
        (["discard", "--all", "--status", "nope"], "--status is one of pending, delivered, dead, discarded"),
        (["list", "--type", "a b"], "--type: a type looks like certificate.issued"),
        (["list", "--destination", "x"], "--destination is the id of a destination, a UUID"),
    ],
)
async def test_what_cannot_be_meant(operator: Operator, words: list[str], said: str) -> None:
    ran = await operator.run("effects", *words)
    assert ran.code == 2
    assert ran.err.startswith(said)


async def test_a_long_retry_says_how_far_it_is(pipe: Service, operator: Operator) -> None:
    await register(pipe.sql, "http://127.0.0.1:9/")
    await receiver.commit(pipe.sql, [effect(n) for n in range(1200)])
    await pipe.sql.execute("UPDATE deliveries SET status = 'dead'")
    ran = await operator.run("effects", "retry", "--all")
    assert (ran.code, ran.out.strip()) == (0, "1200 go again")
    assert set(await statuses(pipe)) == {"pending"}


async def test_status_tells_of_them(pipe: Service, operator: Operator, dead: list[str]) -> None:
    assert len(dead) == 4
    ran = await operator.run("status")
    assert "3 dead deliveries: python -m jobs effects list --status dead" in ran.out
    found = json.loads((await operator.run("status", "--json")).out)
    assert {(one["sort"], one["status"], one["number"]) for one in found["deliveries"]} == {
        ("webhook", "dead", 3),
        ("webhook", "pending", 1),
    }
