"""Settings: wrong ones in one line each, and the table in the documentation."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from db.settings import Settings, load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No .env file in the current folder, and nothing read before."""
    monkeypatch.chdir(tmp_path)
    load.cache_clear()
    return monkeypatch


def said(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **variables: str) -> list[str]:
    """The lines before the exit."""
    for name, value in variables.items():
        environment.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        load()
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()


def test_defaults(environment: pytest.MonkeyPatch) -> None:
    settings = load()
    assert (settings.partitions, settings.durability, settings.log_url) == (8, "fsync", "")
    assert load() is settings


def test_the_environment_and_a_file(environment: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("MILEPOST_PARTITIONS=16\nMILEPOST_PORT=1234\nOTHER=x\n")
    environment.setenv("MILEPOST_PORT", "4321")
    environment.setenv("MILEPOST_CORS_ORIGINS", " https://a.example , https://b.example,")
    settings = load()
    assert (settings.partitions, settings.port) == (16, 4321)
    assert settings.cors_origins == ("https://a.example", "https://b.example")


def test_the_log_may_have_a_redis_of_its_own() -> None:
    assert Settings(_env_file=None, redis_url="redis://a").log_url == "redis://a"
    assert Settings(_env_file=None, redis_url="redis://a", stream_url="redis://b").log_url == "redis://b"


@pytest.mark.parametrize(
    ("name", "value", "begins"),
    [
        ("MILEPOST_PORT", "http", "MILEPOST_PORT: Input should be a valid integer"),
        ("MILEPOST_DURABILITY", "always", "MILEPOST_DURABILITY: Input should be 'memory', 'fsync' or 'replica'"),
        ("MILEPOST_PARTITIONS", "0", "MILEPOST_PARTITIONS: Input should be greater than or equal to 1"),
        ("MILEPOST_DEDUPE_DAYS", "6", "MILEPOST_DEDUPE_DAYS: Input should be greater than or equal to 7"),
        ("MILEPOST_RATE_LIMIT_READ", "often", "MILEPOST_RATE_LIMIT_READ: a rate looks like 100/minute"),
        ("MILEPOST_JWT_SECRET", "short", "settings: MILEPOST_JWT_SECRET needs 32 bytes at least"),
        (
            "MILEPOST_DATABASE_URL",
            "mysql://a/b",
            "MILEPOST_DATABASE_URL: a database looks like postgresql://",
        ),
        ("MILEPOST_READ_DATABASE_URL", "a b", "MILEPOST_READ_DATABASE_URL: a database looks like"),
        ("MILEPOST_DATABASE_URL", "postgresql://h:x/n", "MILEPOST_DATABASE_URL: a database looks like"),
        (
            "MILEPOST_DATABASE_URL",
            "postgresql://h/n?sslmode=bogus",
            "MILEPOST_DATABASE_URL: sslmode is one of disable, ",
        ),
        ("MILEPOST_REDIS_URL", "http://h", "MILEPOST_REDIS_URL: a Redis looks like redis://"),
        ("MILEPOST_REDIS_URL", "redis://h:x", "MILEPOST_REDIS_URL: a Redis looks like redis://"),
        ("MILEPOST_REDIS_URL", "rediss://h/0?ssl_nobody=1", "MILEPOST_REDIS_URL: behind the ? of a Redis URL"),
        ("MILEPOST_REDIS_URL", "rediss://h/0?ssl_cert_reqs=maybe", "MILEPOST_REDIS_URL: behind the ? of a Redis URL"),
        ("MILEPOST_STREAM_URL", "rediss+cluster://h:1,i:2?ssl_nobody=1", "MILEPOST_STREAM_URL: behind the ? of a"),
        ("MILEPOST_REDIS_URL", "redis://h/0?retry=3", "MILEPOST_REDIS_URL: behind the ? of a Redis URL"),
        ("MILEPOST_REDIS_URL", "redis://h/0?protocol=x", "MILEPOST_REDIS_URL: behind the ? of a Redis URL"),
        ("MILEPOST_REDIS_URL", "redis+cluster://h:1", "MILEPOST_REDIS_URL: arq speaks to one Redis"),
        ("MILEPOST_STREAM_URL", "h:6379", "MILEPOST_STREAM_URL: a Redis looks like redis://"),
        ("MILEPOST_STREAM_URL", "redis+cluster://h:1/3", "MILEPOST_STREAM_URL: a cluster looks like"),
        (
            "MILEPOST_ENV",
            "production",
            "settings: production needs MILEPOST_DATABASE_URL and MILEPOST_REDIS",
        ),
    ],
)
def test_a_wrong_one_is_one_line(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, begins: str
) -> None:
    (line,) = said(environment, capsys, **{name: value})
    assert line.startswith(begins)


def test_every_wrong_one_is_named(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(environment, capsys, MILEPOST_PORT="x", MILEPOST_PARTITIONS="y")
    assert [line.split(":")[0] for line in lines] == ["MILEPOST_PARTITIONS", "MILEPOST_PORT"]


def test_no_secret_is_shown(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {"MILEPOST_DATABASE_URL": "postgresql://u:a/hunter2@h", "MILEPOST_REDIS_URL": "redis://:a/b:hunter2@h:x"}
    assert "hunter2" not in "".join(said(environment, capsys, MILEPOST_JWT_SECRET="hunter2", **wrong))


@pytest.mark.parametrize(
    "url",
    [
        "postgres://h",
        "postgresql://u:p%40x@h1:5432,h2:5433/n?target_session_attrs=any",
        "postgresql:///n?host=/tmp",
        "",
    ],
)
def test_databases_as_they_are_named(url: str) -> None:
    assert Settings(_env_file=None, database_url=url).database_url == url


@pytest.mark.parametrize("url", ["redis://h", "rediss://u:p@[::1]:1/2", "unix:///tmp/redis.sock?db=1", ""])
def test_redis_as_it_is_named(url: str) -> None:
    assert Settings(_env_file=None, redis_url=url, stream_url=url).log_url == url


def test_a_process_ends_with_the_line_and_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "db", "status"],
        cwd=ROOT,
        env=os.environ | {"MILEPOST_PORT": "x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("MILEPOST_PORT: ")
    assert len(done.stderr.splitlines()) == 1


def test_nothing_is_extra() -> None:
    with pytest.raises(ValidationError):
        Settings(_env_file=None, port=70_000)


def default(value: object) -> str:
    """A default as the table shows it."""
    return "" if value in ("", ()) else f"`{value}`"


def test_the_documented_table_is_the_settings() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    section = text.split("\n## Settings\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(MILEPOST_\w+)` \| (.*?) \| (.*) \|$", section, re.MULTILINE)
    assert rows == [
        (f"MILEPOST_{name.upper()}", default(field.default), field.description)
        for name, field in Settings.model_fields.items()
    ]


def test_the_example_file_names_settings_that_exist() -> None:
    named = re.findall(r"^#? ?(MILEPOST_\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert named
    assert {name.removeprefix("MILEPOST_").lower() for name in named} <= Settings.model_fields.keys()
