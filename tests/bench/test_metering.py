"""The requests of a real log as metered calls: what a limit lets through, and every notice, against the log alone."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench import adapters, metering
from jobs.families import KINDS
from tests.api.service import Service
from tests.bench.test_adapters import LOG, actions, needs_data, play
from tests.jobs.commands import Operator

EVERY = frozenset(KINDS)


def line(address: str, second: int) -> str:
    return f'{address} - - [17/May/2015:10:00:{second:02d} +0000] "GET / HTTP/1.1" 200 1 "-" "-"\n'


def by_hand(path: Path, limit: int) -> tuple[dict[str, int], dict[str, int], set[tuple[str, str]]]:
    """Allowed and denied by address, and each notice with what it names: from the log alone, call by call."""
    allowed, denied, notices = Counter[str](), Counter[str](), set[tuple[str, str]]()
    for text in gzip.decompress(path.read_bytes()).decode().splitlines():
        if not text.endswith('"'):
            continue
        address = text.split()[0]
        if allowed[address] == limit:
            denied[address] += 1
            continue
        allowed[address] += 1
        names = [t for t in (80, 90, 100) if 100 * (allowed[address] - 1) < t * limit <= 100 * allowed[address]]
        notices |= {(address, str(names))} if names else set()
    return dict(allowed), dict(denied), notices


async def told(service: Service) -> tuple[dict[str, int], dict[str, int], list[tuple[str, str]]]:
    """The same from the facts, the counters and the effects."""
    facts = "SELECT user_id, count(*) FROM usage_records WHERE kind = 'usage.consumed' AND booked = $1 GROUP BY 1"
    allowed, denied = [dict(map(tuple, await service.sql.fetch(facts, booked))) for booked in (1, 0)]
    counters = await service.sql.fetch("SELECT substr(subject, 6), used FROM usage_counters WHERE action = 'API_CALL'")
    assert dict(map(tuple, counters)) == allowed
    rows = await service.sql.fetch("SELECT data ->> 'userId', data ->> 'thresholds' FROM effects")
    return allowed, denied, [(user, thresholds) for user, thresholds in rows]


@needs_data
@pytest.mark.parametrize("limit", [5, 20])
async def test_a_real_log_is_metered_as_ten_lines_of_python_say(
    pipe: Service, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(metering, "LIMIT", limit)
    allowed, denied, notices = by_hand(LOG, limit)
    for _ in range(2):
        stretch = adapters.read(LOG, EVERY, "kept")
        assert await play(pipe, stretch) == stretch.number
        found = await told(pipe)
        assert found[:2] == (allowed, denied)
        assert sorted(found[2]) == sorted(notices)
        assert stretch.metered == await metering.held(pipe.sql, stretch.prefix)
    assert len(denied) > 50
    assert sum(allowed.values()) + sum(denied.values()) == 9_999
    assert {names for _, names in notices} == ({"[80]", "[90, 100]"} if limit == 5 else {"[80]", "[90]", "[100]"})


async def test_the_screen(pipe: Service, operator: Operator, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("".join([line("1.2.3.4", n) for n in range(25)] + [line("5.6.7.8", n) for n in range(16)]))
    for _ in range(2):
        ran = await operator.run("--data", str(path), module="bench.demo")
        assert ran.code == 0, ran.err
        assert "which may make 20 a month (the plan FREE alone: none)" in ran.out
        rows = [words[:2] for row in ran.out.splitlines() if len(words := row.split()) > 1]
        for pair in (["addresses", "2"], ["allowed", "36"], ["denied", "5"], ["notices", "4"]):
            assert pair in rows
        assert ran.out.count("as counted from the files alone") == 4
        assert "NOT as counted" not in ran.out
        busiest = ran.out.partition("/v1/usage/current?")[2].partition("'")[0]
        answer = await pipe.get(f"/v1/usage/current?{busiest}")
        assert answer.body["meters"]["API_CALL"]["used"] == 20
    await pipe.sql.execute("UPDATE usage_records SET booked = 0 WHERE id LIKE '%-1-call'")
    ran = await operator.run("--data", str(path), module="bench.demo")
    assert "NOT as counted from the files: 36" in ran.out


def test_the_limit_comes_before_the_calls(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("".join(line(f"1.2.3.{n % 3}", n) for n in range(30)))
    seen: set[str] = set()
    sent: list[dict[str, Any]] = actions(adapters.read(path, EVERY, "kept"))
    for action in sent:
        if action["kind"] == "usage.limits_set":
            seen.add(action["userId"])
        if action["kind"] == "usage.consumed":
            assert action["userId"] in seen
    assert seen == {"1.2.3.0", "1.2.3.1", "1.2.3.2"}
    assert len({action["id"] for action in sent}) == len(sent)


def test_a_milepost_without_usage_gets_none(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text(line("1.2.3.4", 1))
    stretch = adapters.read(path, EVERY - {"usage.consumed"})
    assert not {str(one["kind"]) for one in actions(stretch)} & metering.KINDS
    assert stretch.metered is None
