"""Imports: every line once, whatever happens on the way."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jobs.lines import MAX_LINE, Reader, Unreadable, with_id
from tests.api.service import Service
from tests.jobs.commands import Forward, Operator, door, settled

LINES = st.lists(st.sampled_from([b"", b"x", b"{}", b'{"kind":"a"}', b'{"kind":"a","id":"own"}', b'{"id": null }']))


def click(session: str, **more: Any) -> dict[str, Any]:
    """An action without an id."""
    data = {"eventType": "click", "category": "nest"}
    return {"kind": "interaction.recorded", "sessionId": session, "data": data} | more


def written(path: Path, actions: Sequence[object]) -> Path:
    """An NDJSON file; text goes as it is."""
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in actions))
    return path


def lines_of(path: Path, most: int = 1000) -> list[tuple[int, bytes]]:
    """What a reader makes of a file, window by window."""
    found: list[tuple[int, bytes]] = []
    with closing(Reader(str(path))) as reader:
        while True:
            window = reader.window(most)
            found += [(line.number, line.body) for line in window.lines]
            if window.is_last:
                return found


async def count(pipe: Service) -> int:
    """Interactions in Postgres, when all is applied."""
    await settled(pipe)
    number: int = await pipe.sql.fetchval("SELECT count(*) FROM interaction_events")
    return number


@given(lines=LINES, most=st.integers(1, 5))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
def test_ids_are_of_the_lines_and_all_different(tmp_path: Path, lines: list[bytes], most: int) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"\n".join(lines))
    found = lines_of(path)
    assert found == lines_of(path, most)
    assert [number for number, _ in found] == [number for number, line in enumerate(lines, 1) if line]
    given_ids = [json.loads(body)["id"] for _, body in found if body != b"x"]
    made = [one for one in given_ids if one != "own"]
    assert len(set(made)) == len(made)
    (path.parent / "a.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert lines_of(path.parent / "a.gz") == found


@given(lines=LINES.filter(bool), most=st.integers(1, 3))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
def test_a_place_is_found_again_and_only_in_the_same_file(tmp_path: Path, lines: list[bytes], most: int) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"\n".join(lines) + b"\n")
    with closing(Reader(str(path))) as reader:
        first, rest = reader.window(most), reader.window(1000)
    with closing(Reader(str(path))) as reader:
        assert reader.skip(first.place)
        assert reader.window(1000).lines == rest.lines
    path.write_bytes(b"!" + path.read_bytes())
    with closing(Reader(str(path))) as reader:
        assert not reader.skip(rest.place)


def test_an_edited_or_added_line_changes_no_other_id(tmp_path: Path) -> None:
    lines = [click("a"), click("b"), click("a"), click("c")]
    before = [body for _, body in lines_of(written(tmp_path / "a", lines))]
    after = [
        body for _, body in lines_of(written(tmp_path / "a", [*lines[:1], click("edited"), click("new"), *lines[2:]]))
    ]
    assert [after[0], *after[3:]] == [before[0], *before[2:]]


def test_long_lines_and_marks_of_byte_order(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbf{}\r\n" + b"x" * (3 * MAX_LINE) + b"\n{}\n")
    with closing(Reader(str(path))) as reader:
        window = reader.window(10)
    assert [(line.number, json.loads(line.body).keys()) for line in window.lines] == [(1, {"id"}), (3, {"id"})]
    assert window.too_long == [2]
    assert json.loads(with_id(b'{"id":null, "kind":"a"}', "b")) == {"id": "b", "kind": "a"}


def test_a_broken_archive_gives_what_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    content = "".join(json.dumps(click(f"s{number * 7919 % 1000}")) + "\n" for number in range(20_000))
    path.write_bytes(gzip.compress(content.encode())[:-5000])
    with closing(Reader(str(path))) as reader:
        windows = [reader.window(100_000)]
    assert windows[0].is_last
    assert windows[0].lines
    assert "cannot be read behind line" in (windows[0].failure or "")
    with pytest.raises(Unreadable):
        Reader(str(tmp_path / "nowhere"))


async def test_importing_twice_counts_once(pipe: Service, operator: Operator, tmp_path: Path) -> None:
    actions = [click(f"s{number % 7}") for number in range(300)]  # most lines are there several times
    path = written(tmp_path / "a.ndjson", actions)
    first = await operator.run("import", str(path), "--batch", "40")
    assert first == (0, f"{path}: 300 accepted, 0 rejected\n", "")
    assert await count(pipe) == 300
    again = await operator.run("import", str(path))
    assert again.code == 0
    assert "nothing new behind line 300" in again.out
    assert (await operator.run("import", str(path), "--restart", "--gzip")).code == 0
    other = tmp_path / "b.gz"
    other.write_bytes(gzip.compress(path.read_bytes()))
    assert (await operator.run("import", str(other))).code == 0
    assert (await operator.run("import", "-", stdin=path.read_bytes())).out == "-: 300 accepted, 0 rejected\n"
    assert await count(pipe) == 300
    with path.open("a") as file:
        file.write(json.dumps(click("new")) + "\n")
    grown = await operator.run("import", str(path))
    assert "(1 sent now, from behind line 300)" in grown.out
    assert await count(pipe) == 301


async def test_rejects_are_listed_and_kept(pipe: Service, operator: Operator, tmp_path: Path) -> None:
    bad = ["nojson", {"kind": "nope"}, "[1]", click("a", at="yesterday"), "x" * (MAX_LINE + 5)]
    path = written(tmp_path / "a.ndjson", [click("a"), *bad, click("a")])
    ran = await operator.run("import", str(path), "--concurrency", "2")
    assert ran.code == 1
    assert "2 accepted, 5 rejected" in ran.out
    rejects = [json.loads(line) for line in (tmp_path / "a.ndjson.rejects.ndjson").read_text().splitlines()]
    codes = [(reject["line"], reject["code"]) for reject in rejects]
    assert codes == [
        (2, "malformed_json"),
        (3, "unknown_kind"),
        (4, "invalid_action"),
        (5, "invalid_action"),
        (6, "too_large"),
    ]
    assert all(f"line {line}: {code}: " in ran.out for line, code in codes)
    assert json.loads(rejects[1]["action"])["kind"] == "nope"
    only_bad = written(tmp_path / "b.ndjson", bad[:1] * 30)
    ran = await operator.run("import", str(only_bad), "--rejects", str(tmp_path / "r"))
    assert ran.out.count("malformed_json") == 10
    assert len((tmp_path / "r").read_text().splitlines()) == 30
    assert await count(pipe) == 2


async def test_a_killed_import_goes_on(pipe: Service, operator: Operator, tmp_path: Path) -> None:
    """Killed at the worst moment: the API has the request, the importer never hears of it."""
    path = written(tmp_path / "a.ndjson", [click(f"s{number % 11}") for number in range(400)] + ["bad"])

    async def kill_at_the_sixth(number: int, forward: Forward) -> web.StreamResponse:
        answer = await forward()
        if number == 6:
            process.kill()
        return answer

    async with door(pipe, kill_at_the_sixth) as url:
        words = ("import", str(path), "--url", url, "--batch", "20", "--concurrency", "2")
        process = await operator.start(*words)
        await process.communicate()
        assert process.returncode == -9
        place = next(iter(json.loads((operator.state / "import.json").read_text()).values()))["place"]
        assert 0 < place["lines"] < 400
        ran = await operator.run(*words)
    assert ran.code == 1
    assert f"400 accepted, 1 rejected ({401 - place['lines']} sent now, from behind line {place['lines']})" in ran.out
    assert await count(pipe) == 400


async def test_what_fails_is_sent_again_with_the_same_ids(pipe: Service, operator: Operator, tmp_path: Path) -> None:
    path = written(tmp_path / "a.ndjson", [click(f"s{number}") for number in range(50)])

    async def moody(number: int, forward: Forward) -> web.StreamResponse:
        if number == 1:
            return web.json_response({"error": {"code": "backlog_full", "message": "full"}}, status=503)
        if number == 2:
            return web.json_response({}, status=429, headers={"Retry-After": "1"})
        answer = await forward()
        if number == 3:
            raise ConnectionResetError  # taken, and nobody knows
        return answer if number % 2 else web.Response(status=502, text="<html>")

    async with door(pipe, moody) as url:
        ran = await operator.run("import", str(path), "--url", url, "--batch", "10", "--concurrency", "1")
        assert ran.code == 0, ran
        assert "full (backlog_full); trying on with the same ids" in ran.err
    assert await count(pipe) == 50


async def test_a_subject_keeps_its_order(pipe: Service, operator: Operator, tmp_path: Path) -> None:
    """A visitor's sessions are found by gaps: in another order, 20 minutes are several gaps of 40."""
    start, visitors = datetime(2026, 11, 20, tzinfo=UTC), 3
    times = [(start + timedelta(minutes=20 * number)).isoformat() for number in range(60)]
    actions = [click("", sessionId=None, anonymousId=f"v{one}", at=at) for at in times for one in range(visitors)]
    path = written(tmp_path / "a.ndjson", actions)
    ran = await operator.run("import", str(path), "--batch", "7", "--concurrency", "5")
    assert ran.code == 0
    assert await count(pipe) == len(actions)
    assert await pipe.sql.fetchval("SELECT count(*) FROM user_sessions") == visitors


async def test_one_clear_line(operator: Operator, tmp_path: Path) -> None:
    path = str(written(tmp_path / "a.ndjson", [click("a")]))
    for words, line in {
        ("nowhere",): "there is no nowhere",
        (str(tmp_path),): "is a folder",
        (path, "--key", "mp_wrong"): "invalid_key",
        (path, "--url", "http://127.0.0.1:1", "--patience", "0"): "cannot connect",
        (path, "--url", "nonsense"): "is no URL",
        (path, "--rejects", path): "is one of the files to import",
        (path, "--checkpoint", path): "the checkpoint",
    }.items():
        ran = await operator.run("import", *words)
        assert ran.code > 0
        assert line in ran.err, ran
        assert ran.err.count("\n") <= 2
    assert (await operator.run("import", "--help")).out.count("Examples:") == 1
