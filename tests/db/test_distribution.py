"""Whether the schema can be spread over servers by subject, as the Citus section of docs/operations.md lays it out.

Citus itself is not at hand here: what its rules demand of tables is looked up in the catalog of Postgres.
"""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg
import pytest

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
SPREAD = dict(re.findall(r"create_distributed_table\('(\w+)', '(\w+)'", OPERATIONS))
REFERENCE = set(re.findall(r"create_reference_table\('(\w+)'\)", OPERATIONS))
LOCAL = set(re.findall(r"`(\w+)`", re.findall(r"^Local tables: (.*)$", OPERATIONS, re.MULTILINE)[0]))

TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
  AND relname NOT LIKE '\\_pogo%'
"""
UNIQUE = """
SELECT i.indexrelid::regclass::text, i.indrelid::regclass::text, ARRAY(
    SELECT a.attname::text FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (number, place)
    JOIN pg_attribute a ON (a.attrelid, a.attnum) = (i.indrelid, k.number) WHERE k.place <= i.indnkeyatts
)
FROM pg_index i WHERE (i.indisunique OR i.indisexclusion) AND i.indrelid = ANY($1::text[]::regclass[])
"""
COLUMNS = """
SELECT attrelid::regclass::text, attname::text, attnotnull AND attgenerated = '', format_type(atttypid, atttypmod),
       (SELECT collname FROM pg_collation c WHERE c.oid = attcollation)
FROM pg_attribute WHERE attnum > 0 AND attrelid = ANY($1::text[]::regclass[])
"""


async def test_every_table_has_its_place(conn: asyncpg.Connection) -> None:
    places = [*SPREAD, *REFERENCE, *LOCAL]
    assert sorted(places) == sorted(row[0] for row in await conn.fetch(TABLES))


async def test_every_unique_key_of_a_spread_table_holds_the_column_that_it_is_spread_by(
    conn: asyncpg.Connection,
) -> None:
    keys = await conn.fetch(UNIQUE, list(SPREAD))
    assert [tuple(key) for key in keys if SPREAD[key[1]] not in key[2]] == []
    assert {key[1] for key in keys} == SPREAD.keys()


async def test_the_columns_are_text_of_one_collation_given_and_never_null(conn: asyncpg.Connection) -> None:
    found = {(table, name): kind for table, name, *kind in await conn.fetch(COLUMNS, list(SPREAD))}
    assert {tuple(found[key]) for key in SPREAD.items()} == {(True, "text", "C")}


@pytest.mark.parametrize(
    ("what", "query"),
    [
        ("foreign keys", "SELECT conname FROM pg_constraint WHERE contype = 'f'"),
        ("sequences, identity columns", "SELECT relname FROM pg_class WHERE relkind = 'S'"),
        ("rules", "SELECT rulename FROM pg_rules WHERE schemaname = 'public'"),
        (
            "inheritance",
            "SELECT inhrelid::regclass FROM pg_inherits JOIN pg_class c ON c.oid = inhparent AND relkind = 'r'",
        ),
    ],
)
async def test_the_schema_has_none_of(conn: asyncpg.Connection, what: str, query: str) -> None:
    assert await conn.fetch(query) == [], what


async def test_only_local_tables_have_triggers(conn: asyncpg.Connection) -> None:
    on = await conn.fetch("SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal")
    assert {row[0] for row in on} == {"usage_counters"}
    assert "usage_counters" in LOCAL


async def test_the_rule_is_broken_where_the_documentation_says_so(conn: asyncpg.Connection) -> None:
    """A local table whose every key holds a subject would have no reason to be one, if it is large."""
    keys = await conn.fetch(UNIQUE, ["deliveries", "dead_letters", "referral_codes"])
    assert {key[1] for key in keys if "subject" not in key[2]} == {"deliveries", "dead_letters", "referral_codes"}
