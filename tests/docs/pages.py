"""The pages of the documentation, and what stands in them as code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "bench/peers/README.md",
]
README = (ROOT / "README.md").read_text()
ACTIONS = (ROOT / "docs" / "actions.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
each = pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))


def code(text: str) -> list[str]:
    """Every code span and every line of a block of code."""
    fences = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [*spans, *(line for fence in fences for line in fence.splitlines())]


def all_code() -> Iterator[str]:
    """That of all documents."""
    for path in DOCS:
        yield from code(path.read_text())
