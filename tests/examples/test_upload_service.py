"""The example as its README starts it: a process of its own, with a Milepost that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

import upload_service
from db import ports
from tests.examples.conftest import Stage
from tests.worker.rig import until

EXAMPLES = Path(upload_service.__file__).parents[1]
README = (EXAMPLES / "upload_service" / "README.md").read_text()
DIAGRAM = b"<svg/>\n"


class Answer(NamedTuple):
    """Of the service."""

    status: int
    body: Any


class Uploads:
    """The service, started and ended as often as a test wants."""

    def __init__(self, stage: Stage, state: Path, outage: str) -> None:
        self.stage, self.state, self.outage, self.port = stage, state, outage, ports.free()
        self.process: asyncio.subprocess.Process | None = None
        self.asking = aiohttp.ClientSession()

    async def start(self) -> None:
        """Until it answers."""
        words = ["--port", str(self.port), "--state", str(self.state), "--outage", self.outage, "--timeout", "10"]
        env = os.environ | {
            "PYTHONPATH": str(EXAMPLES),
            "MILEPOST_URL": self.stage.gate.url,
            "MILEPOST_KEY": self.stage.service.key,
        }
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "upload_service", *words, env=env, cwd="/"
        )
        await until(self._answers, "it answers")

    async def _answers(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            return (await self.ask("GET", "none")).status == 404
        return False

    async def end(self, how: int = signal.SIGTERM) -> None:
        """By a signal."""
        assert self.process is not None
        self.process.send_signal(how)
        await self.process.wait()
        self.process = None

    async def ask(self, method: str, name: str, data: bytes | None = None, user: str = "ada") -> Answer:
        """One request."""
        url = f"http://127.0.0.1:{self.port}/diagrams/{name}"
        async with self.asking.request(method, url, data=data, headers={"X-User": user}) as response:
            is_json = response.content_type == "application/json"
            return Answer(response.status, await response.json() if is_json else await response.read())

    async def upload(self, number: int, data: bytes = DIAGRAM) -> Answer:
        """A diagram."""
        return await self.ask("PUT", f"d{number}.svg", data)

    async def uploads(self, number: int) -> list[int]:
        """So many; their statuses."""
        return [(await self.upload(one)).status for one in range(number)]


@pytest.fixture
async def uploads(stage: Stage, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Uploads]:
    """Running, and failing open unless the test says otherwise."""
    made = Uploads(stage, tmp_path / "uploads", getattr(request, "param", "open"))
    try:
        await made.start()
        yield made
    finally:
        if made.process is not None:
            await made.end(signal.SIGKILL)
        await made.asking.close()


async def test_up_to_the_limit_then_an_upgrade(stage: Stage, uploads: Uploads) -> None:
    assert await uploads.uploads(5) == [201] * 5
    over = await uploads.upload(5)
    assert over.status == 429
    assert over.body["error"]["code"] == "plan_limit_exceeded"
    assert over.body["error"]["details"]["upgrade"]["plan"] == "PROFESSIONAL"
    assert (await uploads.ask("GET", "d5.svg")).status == 404
    await stage.upgrade("ada")
    assert (await uploads.upload(5)).status == 201
    assert (await uploads.ask("GET", "d5.svg")).body == DIAGRAM
    await stage.counts("ada", 6)
    await stage.counts("ada", 6 * len(DIAGRAM), action="STORAGE_BYTES")
    await stage.counts("ada", 1, action="PROCEDURE_VIEW")


async def test_an_upload_that_fails_uses_nothing(stage: Stage, uploads: Uploads) -> None:
    (uploads.state / "diagrams" / "folder.svg").mkdir()
    for _ in range(4):
        assert (await uploads.upload(1, b"")).status == 422
        assert (await uploads.ask("PUT", "folder.svg", DIAGRAM)).status == 500
        assert (await uploads.ask("PUT", "..", DIAGRAM)).status in {404, 422}
    assert await uploads.uploads(6) == [201] * 5 + [429]
    await stage.counts("ada", 5)
    assert [path.suffix for path in (uploads.state / "diagrams").iterdir()] == [".svg"] * 6


async def test_a_file_over_the_size_of_the_plan_is_not_read(stage: Stage, uploads: Uploads) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", uploads.port)
    writer.write(b"PUT /diagrams/big.svg HTTP/1.1\r\nHost: x\r\nX-User: ada\r\nContent-Length: 20000000\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()
    assert (await uploads.upload(1)).status == 201
    await stage.counts("ada", 1)


async def test_open_an_outage_loses_nothing(stage: Stage, uploads: Uploads) -> None:
    """More than the limit, through a restart of the service in the middle of it; all are counted, once."""
    assert await uploads.uploads(2) == [201] * 2
    await stage.counts("ada", 2)
    await stage.gate.shut()
    assert await uploads.uploads(4) == [201] * 4
    await uploads.end()
    await uploads.start()
    assert await uploads.uploads(2) == [201] * 2
    await stage.gate.open()
    await stage.counts("ada", 8)
    assert (await uploads.upload(9)).status == 429
    await uploads.end()
    await stage.stands("ada", 8)
    assert not list((uploads.state / "spool").iterdir())


@pytest.mark.parametrize("uploads", ["closed"], indirect=True)
async def test_closed_an_outage_stops_uploads(stage: Stage, uploads: Uploads) -> None:
    assert await uploads.uploads(2) == [201] * 2
    await stage.gate.shut()
    refused = await uploads.upload(3)
    assert (refused.status, refused.body["error"]["code"]) == (503, "usage_unavailable")
    assert (await uploads.ask("GET", "d1.svg")).status == 200
    await stage.gate.open()

    async def again() -> bool:
        return (await uploads.upload(3)).status == 201

    await until(again, "it decides again")
    await stage.counts("ada", 3)
    await stage.counts("ada", 1, action="PROCEDURE_VIEW")


@pytest.mark.parametrize("when", ["outage", "lost answers", "at once"])
async def test_kill_9_of_the_service(stage: Stage, uploads: Uploads, when: str) -> None:
    if when == "outage":
        await stage.gate.shut()
    assert await uploads.uploads(3) == [201] * 3
    if when == "lost answers":
        stage.gate.mute = True
        assert await uploads.uploads(2) == [201] * 2
        await stage.counts("ada", 5)
    await uploads.end(signal.SIGKILL)
    stage.gate.mute = False
    if when == "outage":
        await stage.gate.open()
    await uploads.start()
    await stage.counts("ada", 5 if when == "lost answers" else 3)
    await uploads.end()
    await stage.stands("ada", 5 if when == "lost answers" else 3)
    assert not list((uploads.state / "spool").iterdir())


async def test_the_commands_of_the_readme(stage: Stage, uploads: Uploads, tmp_path: Path) -> None:
    blocks = re.findall(r"^```(?:sh|text)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    _, loop, shown, upgrade = blocks

    async def run(script: str) -> str:
        script = script.replace("127.0.0.1:8090", f"127.0.0.1:{uploads.port}").replace(
            "http://127.0.0.1:8080", stage.gate.url
        )
        env = os.environ | {"MILEPOST_KEY": stage.service.key}
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", script, cwd=tmp_path, env=env, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        return out.decode()

    assert (await run(loop)).startswith(shown.split("…")[0])
    first, second = (line + "\n" for line in upgrade.split("\necho"))
    assert '"accepted":1' in await run(first)
    assert '"bytes": 7' in await run("echo" + second)
