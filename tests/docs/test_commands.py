"""Commands and variables: what the pages name exists, and every operator's command is named."""

from __future__ import annotations

import io
import re
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest

from db.settings import Settings
from tests.docs.pages import DOCS, OPERATIONS, ROOT, all_code


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for line in all_code() for name in re.findall(r"(?<![\w.])make ([a-z]+)", line)}
    assert named <= targets
    assert {"demo", "up", "test", "check", "bench", "chaos"} <= named


def commands() -> dict[tuple[str, ...], set[str]]:
    """(module, subcommand, …) -> options, of every `python -m …`."""
    found: dict[tuple[str, ...], set[str]] = {}
    for line in all_code():
        for module, rest in re.findall(r"python -m ([a-z_.]+)([^#·]*)", line):
            words = rest.split()
            subs = []
            for word in words:
                if not re.fullmatch(r"[a-z]+(\|[a-z]+)*", word):
                    break
                subs.append(word.split("|"))
            options = {word.split("=")[0] for word in re.findall(r"(?<!\S)--[a-z][a-z-]*", rest)}
            for chosen in _choices(subs):
                found.setdefault((module, *chosen), set()).update(options)
    return found


def _choices(words: list[list[str]]) -> list[tuple[str, ...]]:
    chosen: list[tuple[str, ...]] = [()]
    for alternatives in words:
        chosen = [(*before, word) for before in chosen for word in alternatives]
    return chosen


def helped(words: tuple[str, ...]) -> tuple[object, str]:
    """How `python -m … --help` ends and what it says; in this process, for a start of Python takes half a second."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
        patch.setenv("COLUMNS", "200")
        patch.syspath_prepend(ROOT / "docs" / "examples")
        patch.setattr(sys, "argv", [words[0], *words[1:], "--help"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    return ended.value.code or 0, said.getvalue()


@pytest.mark.filterwarnings("ignore:.* found in sys.modules")
def test_python_commands_exist_with_their_options() -> None:
    wanted = commands()
    assert {("api",), ("worker",), ("db", "migrate"), ("jobs", "dead", "retry"), ("bench.report",)} <= wanted.keys()
    assert {words[0].split(".")[0] for words in wanted} <= {
        *("api", "worker", "jobs", "db", "bench", "milepost_client", "upload_service")
    }
    for words, options in wanted.items():
        code, said = helped(words)
        assert code == 0, (words, said)
        missing = {option for option in options if option not in said}
        assert not missing, (words, missing)


@pytest.mark.filterwarnings("ignore:.* found in sys.modules")
def test_every_operators_command_is_documented() -> None:
    named = commands()
    for module in ("db", "jobs"):
        listed = helped((module,))[1].split("Commands:")[1]
        for command in re.findall(r"^  ([a-z]+) ", listed, re.MULTILINE):
            spelled = any(words[:2] == (module, command) for words in named)
            assert spelled or re.search(rf"`{command}\b", OPERATIONS), f"python -m {module} {command}"


def test_variables_are_settings() -> None:
    known = {f"MILEPOST_{name.upper()}" for name in Settings.model_fields}
    known |= {"MILEPOST_URL", "MILEPOST_KEY", "MILEPOST_STATE"}
    for path in DOCS:
        assert set(re.findall(r"MILEPOST_[A-Z_]+[A-Z]", path.read_text())) <= known, path
