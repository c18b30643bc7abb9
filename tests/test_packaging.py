"""What a fresh machine gets: the lock file, the Makefile, and the files beside them."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from db.settings import Settings

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = (ROOT / "requirements.lock").read_text()


def make(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run make as from a shell, also while `make check` runs this test."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *words], cwd=cwd, env=env, capture_output=True, text=True, check=False)


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_locked_with_hashes() -> None:
    project = PROJECT["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    locked = set(re.findall(r"^([a-z0-9-]+)(?:\[.*\])?==", LOCK, re.MULTILINE))
    names = [re.match(r"[A-Za-z0-9._-]+", line) for line in wanted]
    assert {normal(name.group()) for name in names if name} <= locked
    for entry in re.split(r"\n(?=[a-z0-9])", LOCK)[1:]:
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_the_lock_names_no_machine_and_no_index() -> None:
    assert not re.findall(r"https?://|file:|index-url|find-links|(?<![\w.])/\w+/", LOCK)


def test_it_is_an_application() -> None:
    assert "build-system" not in PROJECT
    assert PROJECT["tool"]["setuptools"]["py-modules"] == []


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("up", "PORT=9000", "STATE=/srv/mp"), 'exec .venv/bin/python -m db.up --port 9000 --state "/srv/mp"'),
        (("demo", "DATA=my file.json"), '-m db.up --port 8080 --state ".milepost" --demo --data "my file.json"'),
        (("demo",), '-m db.up --port 8080 --state ".milepost" --demo'),
        (("bench", "SCALE=0.1"), 'SCALE="0.1" .venv/bin/python -m bench'),
        (("chaos",), ".venv/bin/python -m bench.chaos"),
    ],
)
def test_make_runs(words: tuple[str, ...], command: str) -> None:
    done = make("-n", *words)
    assert done.stdout.strip().splitlines()[-1].strip().endswith(command), done.stderr


def test_help_lists_every_target() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "up", "test", "check", "bench", "chaos", "lock", "clean"} <= targets
    assert targets <= set(re.findall(r"make ([a-z]+)", make().stdout))


def test_an_old_python_gets_one_line(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    done = make("up", "PYTHON=false", cwd=tmp_path)
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == (
        "Milepost needs Python 3.11 or newer; 'false' is not. Try: make PYTHON=python3.12 …"
    )
    assert not (tmp_path / ".venv").exists()


def test_ci_runs_make_check() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make check" in script.read_text()


def test_the_example_names_real_settings() -> None:
    named = re.findall(r"^# MILEPOST_([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert named
    assert {name.lower() for name in named} <= set(Settings.model_fields)
