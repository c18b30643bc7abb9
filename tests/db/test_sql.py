"""Every named query is one that the migrated schema takes."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

import asyncpg
import pytest

from db import sql

QUERIES = [
    (path.stem, name, text) for path in sorted(sql.FOLDER.glob("*.sql")) for name, text in sql.read(path.stem).items()
]


@pytest.mark.parametrize(("family", "name", "text"), QUERIES, ids=[f"{family}.{name}" for family, name, _ in QUERIES])
async def test_it_prepares(conn: asyncpg.Connection, family: str, name: str, text: str) -> None:
    await conn.prepare(text)


def test_no_name_stands_in_two_files() -> None:
    assert [name for name, times in Counter(name for _, name, _ in QUERIES).items() if times > 1] == []


def _words() -> Iterator[str]:
    """Every text of the code as a pattern; what an f-string fills in may be anything."""
    for folder in ("api", "db", "jobs", "worker"):
        for path in (sql.FOLDER.parents[1] / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield re.escape(node.value)
                elif isinstance(node, ast.JoinedStr):
                    parts = [p.value if isinstance(p, ast.Constant) else None for p in node.values]
                    yield "".join(r"\w+" if part is None else re.escape(str(part)) for part in parts)


def test_every_query_is_asked_by_somebody() -> None:
    words = set(_words())
    patterns = [word for word in words if r"\w+" in word and re.search("[a-z]_|_[a-z]", word)]
    unused = [name for _, name, _ in QUERIES if name not in words]
    assert [name for name in unused if not any(re.fullmatch(pattern, name) for pattern in patterns)] == []


def test_there_are_queries() -> None:
    assert len(QUERIES) > 20


def test_a_file_is_split_at_its_names() -> None:
    text = "-- of the file\n\n-- name: one\n-- why\nSELECT 1;\n\n-- name: two\nSELECT 2\nFROM t;\n"
    assert sql.load(text) == {"one": "-- why\nSELECT 1", "two": "SELECT 2\nFROM t"}


def test_a_name_that_stands_twice() -> None:
    with pytest.raises(ValueError, match="query one stands twice"):
        sql.load("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n")
