"""Every example is sent, and does what the text beside it says."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from api import ingest
from db import dev
from db.settings import Settings
from db.state import State
from jobs.families import KINDS
from tests.api.service import Service, running
from tests.docs.pages import ACTIONS, README


@pytest.fixture
async def pipe(settings: Settings) -> AsyncIterator[Service]:
    """The API and a drain, with as many partitions as by default."""
    partitions = Settings.model_fields["partitions"].default
    async with running(settings.model_copy(update={"partitions": partitions}), draining=True) as service:
        yield service


def examples() -> list[tuple[str, str, str]]:
    """(route, language, body) of every block of JSON in docs/actions.md; the route is the one named last before it."""
    found = []
    for block in re.finditer(r"^```(json|ndjson)\n(.*?)^```", ACTIONS, re.MULTILINE | re.DOTALL):
        route = re.findall(r"`POST (/[\w/-]+)`", ACTIONS[: block.start()])[-1]
        found.append((route, block[1], block[2]))
    return found


async def test_every_example_is_accepted_and_applied(pipe: Service) -> None:
    sent = 0
    for route, language, text in examples():
        if language == "json" and "accepted" in json.loads(text):
            continue
        media = {"json": "application/json", "ndjson": "application/x-ndjson"}[language]
        answer = await pipe.send(text.encode(), route, Prefer="wait=10", Content_Type=media)
        assert (answer.status, answer.body["rejected"]) == (200, []), text
        for result in answer.body["results"]:
            assert result["duplicate"] is False, text
            assert "error" not in result["outcome"], (text, result)
        sent += 1
    # What only admins send is about something that is there already.
    assert sent == len([kind for kind in KINDS.values() if kind.senders != {"admin"}]) + 6
    assert await pipe.sql.fetchval("SELECT count(*) FROM dead_letters") == 0


def test_the_answer_shown_has_the_fields_of_an_answer() -> None:
    shown = [json.loads(text) for _, language, text in examples() if language == "json" and '"accepted"' in text]
    shown += [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL)]
    assert len(shown) == 2
    for answer in shown:
        decoded = msgspec.convert(answer, ingest.Answer)
        assert json.loads(msgspec.json.encode(decoded)) == answer


def first_screen() -> tuple[str, str]:
    """The line that reads the key, and the command that sends an action."""
    shell = next(text for text in re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL) if "curl" in text)
    key_line, curl = shell.split("\n", 1)
    return key_line, curl


def test_the_key_is_found_where_the_first_screen_looks(tmp_path: Path) -> None:
    state = State(tmp_path / ".milepost")
    settings = Settings(_env_file=None, database_url="postgresql://x", redis_url="redis://y")
    dev.write(state, dev.describe(state, settings))
    line = f'{first_screen()[0]}\nprintf %s "$KEY"'
    read = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert read.stdout == state.secrets["serviceKey"]


async def test_the_first_screen_does_what_it_says(pipe: Service) -> None:
    curl = first_screen()[1]
    body = curl[curl.index("-d '") + 4 : curl.rindex("'")].encode()
    answer = await pipe.send(body)
    assert answer.status == 202
    shown = json.loads(re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[0])
    assert {**answer.body, "position": ""} == {**shown, "position": ""}
    assert answer.body["position"].split(".")[0] == shown["position"].split(".")[0]
    await pipe.settle(answer)
    for query, table in re.findall(r"^(SELECT [^\n]*;)\n\n(.*?)(?:\n\n|\n```)", README, re.MULTILINE | re.DOTALL):
        lines = [[cell.strip() for cell in line.split("|")] for line in table.splitlines()]
        (row,) = await pipe.sql.fetch(query)
        assert [*row.keys()] == lines[0]
        assert [str(value) for value in row.values()] == lines[2]
    again = await pipe.send(body, Prefer="wait=10")
    assert again.body["results"][0]["duplicate"] is True
