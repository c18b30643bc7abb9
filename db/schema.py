"""The migrated schema as a committed dump, `schema.sql`: every change of a migration shows what it did."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Final

from db import connect, dump, embedded, migrate

FILE: Final = Path(__file__).parent / "schema.sql"
HEAD: Final = "-- The schema that the migrations lead to. Written by `python -m db schema`; not to be edited.\n\n"
# Comments, settings of the session and a server's own bookkeeping differ between versions, the schema does not.
_NOISE = re.compile(
    r"^(--.*|\\(un)?restrict .*|SET .*;|SELECT pg_catalog\.set_config\(.*;|ALTER TABLE .* SET \(pg_attver=\d+\);)\n",
    re.MULTILINE,
)
_BLANKS = re.compile(r"\n{3,}")


async def fresh() -> str:
    """The dump of a freshly migrated, throw-away database."""
    with embedded.temporary(fsync=False) as urls:
        conn = await connect.postgres(urls.database_url)
        try:
            await migrate.up(conn)
        finally:
            await conn.close()
        return of(urls.database_url)


def of(url: str) -> str:
    """The dump of a database's schema, without what the migration library keeps for itself."""
    text = dump.dump(url, "--schema-only", "--exclude-table=_pogo*", "--no-owner", "--no-privileges")
    return normalise(text.decode())


def normalise(text: str) -> str:
    """Only the statements, one empty line between them."""
    return HEAD + _BLANKS.sub("\n\n", _NOISE.sub("", text)).strip() + "\n"


def difference(committed: str, current: str) -> str:
    """A unified diff; empty when they are the same."""
    lines = difflib.unified_diff(
        committed.splitlines(), current.splitlines(), "db/schema.sql", "the migrations", lineterm=""
    )
    return "\n".join(lines)
