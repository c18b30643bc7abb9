"""`python -m jobs recalculate` as an operator runs it."""

from __future__ import annotations

from db import keys, stream
from jobs.usage import view
from tests.api.service import Service
from tests.jobs.commands import Operator


async def fill(pipe: Service) -> None:
    """Two users and an organisation."""
    sent = [
        {"kind": "usage.recorded", "data": {"action": "PROCEDURE_VIEW", "quantity": 3}, **whose}
        for whose in ({"userId": "ada"}, {"userId": "bob"}, {"orgId": "[red]o[/]"})
    ]
    await pipe.settle(await pipe.send({"actions": sent}))


async def used(pipe: Service) -> dict[str, int]:
    return {row["subject"]: row["used"] for row in await pipe.sql.fetch("SELECT subject, used FROM usage_counters")}


async def test_what_differs_is_shown_and_mended(pipe: Service, operator: Operator) -> None:
    await fill(pipe)
    ran = await operator.run("recalculate")
    assert ran.code == 0
    assert "usage_accounts: 3 compared, 0 differ" in ran.out
    assert "usage_counters: 3 compared, 0 differ" in ran.out
    await pipe.sql.execute("UPDATE usage_counters SET used = used + 4")
    ran = await operator.run("recalculate")
    assert ran.code == 1
    assert "usage_counters: 3 compared, 3 differ" in ran.out
    (line,) = [line for line in ran.out.splitlines() if line.startswith("user:ada")]
    assert line.split()[0:2] + line.split()[3:] == ["user:ada", "PROCEDURE_VIEW", "used", "7", "3"]
    assert "org:[red]o[/]" in ran.out
    assert set((await used(pipe)).values()) == {7}


async def test_one_subject_alone_is_mended_and_readers_see_it(pipe: Service, operator: Operator) -> None:
    await fill(pipe)
    await pipe.sql.execute("UPDATE usage_counters SET used = used + 4")
    name = keys.model(stream.partition_of("user:bob", pipe.settings.partitions), view.name("user:bob"))
    assert await pipe.redis.exists(name)
    ran = await operator.run("recalculate", "--subject", "user:bob", "--apply")
    assert ran.code == 0
    assert "usage_counters: 1 compared, 1 mended" in ran.out
    assert await used(pipe) == {"user:ada": 7, "user:bob": 3, "org:[red]o[/]": 7}
    assert not await pipe.redis.exists(name)
    assert (await operator.run("recalculate", "--subject", "user:bob")).code == 0
    assert (await operator.run("recalculate", "--apply", "--limit", "0")).code == 0
    assert set((await used(pipe)).values()) == {3}
    assert "0 compared" in (await operator.run("recalculate", "--subject", "user:nobody")).out


async def test_what_is_no_subject_is_one_clear_line(operator: Operator) -> None:
    for wrong in ("bob", "user:", "session:x"):
        ran = await operator.run("recalculate", "--subject", wrong)
        assert ran.code == 2
        assert "a subject is user:ID or org:ID" in ran.err
