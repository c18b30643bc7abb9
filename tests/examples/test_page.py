"""docs/client.md says what the client is."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from dataclasses import fields
from pathlib import Path

import milepost_client
from milepost_client import Client, Counters, Guard, client, hold, spool

PACKAGE = Path(milepost_client.__file__).parent
PAGE = (PACKAGE.parents[1] / "client.md").read_text()


def default(of: object, name: str) -> object:
    """Of a parameter."""
    return inspect.signature(of).parameters[name].default  # type: ignore[arg-type]


def test_the_counters() -> None:
    named = re.findall(r"^\| `counters\.(\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(named) == sorted(field.name for field in fields(Counters))


def test_the_figures() -> None:
    for words in (
        f"up to {client.MOST_LINES:,} lines at a time, every {default(Client, 'linger')} s (`linger`)",
        f"over {spool.LINE_BYTES >> 10} KiB",
        f"after {client.ADOPT_SECONDS:.0f} s",
        f"to {client.LONGEST_PAUSE:.0f} s, with jitter",
        f"({client.LONGEST_RETRY_AFTER:.0f} s at most)",
        f"for up to {default(Client, 'deadline'):.0f} s (`deadline`)",
        f"up to {int(str(default(Client, 'most_bytes'))) >> 20} MiB of spool (`most_bytes`)",
        f"its `ttl` ({default(Guard.hold, 'ttl')} s)",
        f"nobody asks for {hold.REST_SECONDS:.0f} s",
        f'outage="{default(Guard, "outage")}", timeout={default(Guard, "timeout")}',
        f"Up to {client.MOST_LINES:,} actions count twice".lower(),
    ):
        assert words in PAGE, words
    assert hold.TRIPS == 3
    assert "After three requests in a row" in PAGE


def test_the_examples_are_python() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        compile(block, "client.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_package_needs_aiohttp_and_nothing_else() -> None:
    known = {"aiohttp", "milepost_client"}
    for path in PACKAGE.glob("*.py"):
        tree = ast.walk(ast.parse(path.read_text()))
        names = {one.module or "" for one in tree if isinstance(one, ast.ImportFrom)}
        assert not {name.split(".")[0] for name in names} & {"api", "worker", "jobs", "db", "bench", "tests"}, path
        foreign = {name.split(".")[0] for name in names} - known
        assert foreign <= set(sys.stdlib_module_names), (path, foreign)
