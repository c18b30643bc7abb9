"""Programs that tests of ours use where they are installed: a browser, and Node with packages that others made.

What is missing is told at the end of the run. With TOOLS=required, as `.ci/run` sets it where it could install them,
it is a failure.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

NPM = Path(__file__).parent / "npm"
AWAY = re.compile(r"ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONN\w+|ENETUNREACH|ENOTCACHED|E[45]\d\d\b")
"""What npm says where it reaches no registry: nothing that could be installed is missing then."""


def program(package: str, *names: str) -> str:
    """The path of the first of these programs that is installed, or no test."""
    found = next(filter(None, map(shutil.which, names)), None)
    return found or lacking(f"none of {', '.join(names)} is installed (apt install {package})")


def lacks(reason: str) -> NoReturn:
    """The same for a whole run: end it, as a failure where the tools must be there."""
    pytest.exit(f"NOT CHECKED HERE: {reason}", 1 if os.environ.get("TOOLS") == "required" else 0)


def lacking(reason: str) -> str:
    """Skip, or fail where the tools must be there."""
    if os.environ.get("TOOLS") == "required" and not AWAY.search(reason):
        pytest.fail(reason)
    pytest.skip(f"NOT CHECKED HERE: {reason}")


def node_modules(folder: Path) -> Path:
    """This folder, with the packages of the lock file in it; they come from npm's own cache after the first time."""
    program("nodejs", "node")
    npm = program("npm", "npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(NPM / name, folder)
    words = [npm, "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    except subprocess.TimeoutExpired:
        lacking("npm did not install its packages within 120 s")
    else:
        if done.returncode:
            lacking(f"npm cannot install its packages: {done.stderr.strip()[:300]}")
    return folder
