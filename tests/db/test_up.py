"""`python -m db.up` as an operator meets it, with real servers."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import jwt
import pytest
from redis import Redis

from db import identity, ports
from tests.db.stand_ins import PATIENCE, STUBBORN, Run, alive, lay_out, until


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """A folder with the stand-ins and the real Procfile."""
    lay_out(tmp_path)
    return tmp_path


@pytest.fixture
def port() -> str:
    """A free one for the API."""
    return str(ports.free())


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


async def write_rows(dev: dict[str, str]) -> None:
    conn = await asyncpg.connect(dev["databaseUrl"])
    await conn.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    await conn.close()
    with Redis.from_url(dev["redisUrl"]) as redis:
        redis.xadd("kept", {"a": "1"})


async def read_rows(dev: dict[str, str]) -> tuple[int, int, int]:
    conn = await asyncpg.connect(dev["databaseUrl"])
    answer, keys = await conn.fetchrow("SELECT (SELECT answer FROM kept), (SELECT count(*) FROM service_keys)") or (
        0,
        0,
    )
    await conn.close()
    with Redis.from_url(dev["redisUrl"]) as redis:
        return answer, keys, int(str(redis.xlen("kept")))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_kill_9_of_anything_and_of_everything(stage: Path, port: str) -> None:
    file = stage / "state" / "dev.json"
    with Run(stage, "--port", port, "--state", "state") as run:
        run.wait_for("Milepost is up")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        dev = json.loads(file.read_text())
        assert jwt.decode(dev["userToken"], dev["jwtSecret"], algorithms=["HS256"])["sub"] == dev["userId"]
        await write_rows(dev)
        first = run.children()
        assert set(first) == {"api", "worker", "postgres", "valkey"}
        for pid in first.values():
            os.kill(pid, signal.SIGKILL)
        for name in first:
            run.wait_for(f"{name} died (signal 9), starting it again in 0.2 s")
        until(lambda: len(run.children()) == 4)
        run.wait_for("worker here", 2)
        second = run.children()
        os.kill(run.process.pid, signal.SIGKILL)
        until(lambda: not any(map(alive, second.values())))
    with Run(stage, "--port", port, "--state", "state") as run:
        run.wait_for("Milepost is up")
        again = json.loads(file.read_text())
        assert again | {"userToken": ""} == dev | {"userToken": ""}
        assert await read_rows(again) == (42, 2, 1)
        third = run.children()
        assert run.stop() == 0
        assert run.text.index("stopping …") < run.text.index("worker stops") < run.text.index("stopped")
        assert not any(map(alive, third.values()))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user(stage: Path, port: str) -> None:
    """The capability is for the way to the interpreter and the test's folder, which may be root's alone."""
    path = identity.setpriv()
    assert path
    owner = identity._nobody()
    for item in (stage, *stage.iterdir()):
        os.chown(item, *owner)
    prefix = (path, f"--reuid={owner[0]}", f"--regid={owner[1]}", "--clear-groups", *identity.WALK)
    with Run(stage, "--port", port, "--state", "state", prefix=prefix) as run:
        run.wait_for("Milepost is up")
        assert (stage / "state" / "postgres").stat().st_uid == owner[0]
        assert run.stop(signal.SIGINT) == 0


def test_the_demo_has_the_terminal(stage: Path, port: str) -> None:
    (stage / "real.json").touch()
    with Run(stage, "--port", port, "--state", "state", "--demo", "--data", "real.json") as run:
        run.wait_for("Milepost is up")
        assert f"\ndemo --url http://127.0.0.1:{port} --data real.json True\n" in run.text
        assert f"the demo is over; still serving on http://127.0.0.1:{port}" in run.text
        assert run.stop() == 0


def test_a_second_signal_kills(stage: Path, port: str) -> None:
    (stage / "worker" / "__main__.py").write_text(STUBBORN)
    with Run(stage, "--port", port, "--state", "state") as run:
        run.wait_for("Milepost is up")
        run.wait_for("worker here")
        began = time.monotonic()
        run.process.send_signal(signal.SIGINT)
        run.wait_for("stopping …")
        with pytest.raises(subprocess.TimeoutExpired):  # one is not enough for this worker
            run.process.wait(0.5)
        assert run.stop(signal.SIGINT) == 130
        assert time.monotonic() - began < 8  # the grace is 10 s


@pytest.mark.parametrize(
    ("env", "words", "line"),
    [
        ({}, ("--port", "{taken}"), "port {taken} is in use"),
        ({"MILEPOST_ENV": "production"}, (), "production needs MILEPOST_DATABASE_URL and MILEPOST_REDIS_URL"),
        (
            {"MILEPOST_REDIS_URL": "redis://127.0.0.1:1", "MILEPOST_DATABASE_URL": "postgresql://127.0.0.1:1/x"},
            (),
            "MILEPOST_REDIS_URL cannot be used",
        ),
        ({"MILEPOST_DATABASE_URL": "x"}, (), "MILEPOST_DATABASE_URL: a database looks like postgresql://"),
        ({"MILEPOST_HOST": "192.0.2.1"}, (), "the API cannot listen on 192.0.2.1"),
        ({}, ("--data", "nowhere"), "there is no nowhere"),
        ({}, ("--state", "/etc"), "holds something else"),
    ],
)
def test_one_clear_line(
    stage: Path, port: str, taken: str, env: dict[str, str], words: tuple[str, ...], line: str
) -> None:
    given = [word.format(taken=taken) for word in ("--port", port, "--state", "state", *words)]
    with Run(stage, *given, env=env) as run:
        assert run.process.wait(PATIENCE) > 0
        assert line.format(taken=taken) in run.text
        assert run.text.count("\n") == 1
    assert not (stage / "state" / "postgres").exists()
