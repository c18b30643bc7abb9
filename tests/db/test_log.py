"""Log lines as a process writes them: JSON or for people, ours and those of libraries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog

from db import log

PROGRAM = """
import logging, structlog
from db import log
from db.settings import Settings
log.setup(Settings(_env_file=None, {settings}))
logger = log.get("door")
{body}
"""


def lines(body: str, settings: str = "log_format='json'") -> list[str]:
    """What a process with this body writes to stderr; nothing goes to stdout."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(settings=settings, body=body)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    return done.stderr.splitlines()


def one(body: str) -> dict[str, Any]:
    (line,) = lines(body)
    found: dict[str, Any] = json.loads(line)
    assert found.pop("timestamp").endswith("Z")
    return found


def test_our_own_line() -> None:
    assert one("logger.info('applied', actions=3)") == {
        "event": "applied",
        "level": "info",
        "logger": "door",
        "actions": 3,
    }


def test_a_line_of_a_library_has_the_same_form() -> None:
    assert one("logging.getLogger('arq.worker').warning('took %d s', 7, extra={'job': 'x'})") == {
        "event": "took 7 s",
        "level": "warning",
        "logger": "arq.worker",
        "job": "x",
    }


def test_bound_context_is_in_every_line() -> None:
    body = "structlog.contextvars.bind_contextvars(partition=3)\nlogging.getLogger('x').error('a')\nlogger.error('b')"
    assert [json.loads(line)["partition"] for line in lines(body)] == [3, 3]


@pytest.mark.parametrize("name", ["logger", "logging.getLogger('x')"])
def test_an_exception_is_one_line_of_json(name: str) -> None:
    found = one(f"try:\n    1 / 0\nexcept ZeroDivisionError:\n    {name}.exception('failed')")
    assert found["exception"].startswith("Traceback (most recent call last)")
    assert found["exception"].endswith("ZeroDivisionError: division by zero")


def test_for_people() -> None:
    (line,) = lines("logger.info('applied', actions=3)", "")
    assert "applied" in line
    assert "actions=3" in line
    assert "\x1b" not in line


def test_no_local_variable_is_shown() -> None:
    body = "def check(key):\n    1 / len('')\ntry:\n    check('mp_' + 'secret')\n"
    body += "except ZeroDivisionError:\n    logger.exception('x')"
    for settings in ("", "log_format='json'"):
        text = "\n".join(lines(body, settings))
        assert "ZeroDivisionError" in text
        assert "mp_secret" not in text


def test_production_writes_json() -> None:
    (line,) = lines("logger.warning('x')", "env='production', database_url='postgresql://a', redis_url='redis://b'")
    assert json.loads(line)["event"] == "x"


def test_the_level_counts_for_all() -> None:
    body = "logger.info('a')\nlogging.getLogger('x').info('b')\nlogger.warning('c')"
    assert [json.loads(line)["event"] for line in lines(body, "log_format='json', log_level='warning'")] == ["c"]


def test_seldom_says_it_at_once_and_then_counts() -> None:
    now = 0.0
    warn = log.Seldom(log.get("x"), seconds=10, now=lambda: now)
    with structlog.testing.capture_logs() as logged:
        for now in (0.0, 1.0, 2.0, 10.0, 11.0):  # noqa: B007 the clock
            warn("away", error="e")
        warn("something else")
    assert [(line["event"], line["times"]) for line in logged] == [("away", 1), ("away", 3), ("something else", 1)]
