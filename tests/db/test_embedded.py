"""The embedded servers: they touch nothing outside their folder, keep their data, and clear up after themselves."""

import os
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import pytest
from redis import Redis

from db import embedded, identity, leftover, ports, postgres_server, valkey_server
from db.server import Server, StartError
from db.state import State


def modes(path: Path) -> dict[Path, tuple[int, int, int]]:
    """Mode and owners of every folder above, of the interpreter's folders too."""
    binary = postgres_server.binary("postgres")
    return {
        folder: (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)
        for folder in {*path.parents, *binary.parents}
        for info in [folder.stat()]
    }


def command_lines() -> str:
    """Those of all processes of this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text(errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return "\n".join(found)


async def test_data_survives_and_no_mode_changes(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    state = closed / "deeper" / "state"
    state.parent.mkdir(mode=0o700)
    before = modes(state)

    with embedded.running(state) as urls:
        conn = await asyncpg.connect(urls.database_url)
        await conn.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        assert await conn.fetchval("SELECT lower('ÄÖ')") == "äö"
        assert [await conn.fetchval(f"SHOW {name}") for name in ("fsync", "synchronous_commit")] == ["on", "on"]
        await conn.close()
        with Redis.from_url(urls.redis_url) as redis:
            redis.xadd("log", {"a": "1"})
            config = redis.config_get("*")
            assert isinstance(config, dict)
            wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": ""}
            assert {name: config[name] for name in wanted} == wanted
        secrets = State(state).secrets
        assert not any(secrets[name] in command_lines() for name in ("postgresPassword", "redisPassword"))

    aof = next((state / "valkey" / "appendonlydir").glob("*.incr.aof"))
    with aof.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$5\r\nhal")  # as a crash in the middle of a write leaves it

    with embedded.running(state) as again:
        assert again == urls
        conn = await asyncpg.connect(again.database_url)
        assert await conn.fetchval("SELECT answer FROM kept") == 42
        await conn.close()
        with Redis.from_url(again.redis_url) as redis:
            assert redis.xlen("log") == 1

    assert modes(state) == before
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "secrets.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("prepare", [postgres_server.server, valkey_server.server])
def test_an_earlier_server_is_stopped_first(tmp_path: Path, prepare: Callable[..., Server]) -> None:
    state = State(tmp_path / "state")
    earlier = prepare(state, fsync=False)
    with earlier.log.open("wb") as log, subprocess.Popen(earlier.argv, stdout=log, stderr=log) as process:
        embedded._await_ready(earlier, process)
        prepare(state, fsync=False)
        assert process.wait(5) == 0


def test_a_stale_pid_file_harms_nobody(tmp_path: Path) -> None:
    file = tmp_path / "some.pid"
    for content in (str(os.getpid()), "4194303", "", "nonsense"):
        file.write_text(f"{content}\n")
        leftover.stop(file, str(tmp_path), signal.SIGKILL)
        assert not file.exists()


def test_a_half_made_data_folder_is_made_again(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    (state.path / "postgres.new").mkdir()
    (state.path / "postgres.new" / "PG_VERSION").write_text("18\n")
    with embedded.running(state.path, fsync=False):
        assert not (state.path / "postgres.new").exists()
        assert not (state.path / "password.new").exists()


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    mode = tmp_path.stat().st_mode
    with pytest.raises(StartError, match="holds something else"):
        State(tmp_path)
    with pytest.raises(StartError, match="cannot be used"):
        State(tmp_path / "letter.txt" / "state")
    assert tmp_path.stat().st_mode == mode


def test_one_supervisor_for_a_folder(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    with state.locked(), pytest.raises(StartError, match=rf"already \(process {os.getpid()}\)"), state.locked():
        pass
    with state.locked():
        pass


def test_ports_and_secrets_are_kept(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    port = state.port("postgres")
    again = State(tmp_path / "state")
    assert (again.port("postgres"), again.secrets) == (port, state.secrets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ports, "is_free", lambda number: number != port)
        assert State(tmp_path / "state").port("postgres") != port


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user needs no other identity")
def test_root_in_a_container_without_the_capability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "WALK", ("--no-such-option",))
    with TemporaryDirectory() as reachable:
        Path(reachable).chmod(0o755)
        with embedded.running(Path(reachable) / "state", fsync=False):
            assert stat.S_IMODE((Path(reachable) / "state").stat().st_mode) == 0o711
    with pytest.raises(StartError, match="who cannot reach"), embedded.running(tmp_path / "state"):
        pass
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_data_of_another_postgres_is_left_alone(tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    (state.path / "postgres").mkdir()
    (state.path / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(StartError, match="is of PostgreSQL 17, this is"):
        postgres_server.server(state)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user needs no other identity")
def test_root_without_setpriv_gets_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "setpriv", lambda: None)
    with (
        pytest.raises(StartError, match="start as an ordinary user, choose a STATE") as caught,
        embedded.running(tmp_path),
    ):
        pass
    assert "\n" not in str(caught.value)
