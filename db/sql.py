"""Named queries from the `.sql` files beside this module: `-- name: x`, one line why, the statement."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "sql"
_HEAD = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load(text: str) -> dict[str, str]:
    """Split one file's text into {name: statement}; a name that stands twice raises ValueError."""
    parts = _HEAD.split(text)
    queries: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        if name in queries:
            raise ValueError(f"query {name} stands twice")
        queries[name] = body.strip().rstrip(";")
    return queries


def read(family: str) -> dict[str, str]:
    """The queries of `sql/<family>.sql`."""
    return load((FOLDER / f"{family}.sql").read_text())
