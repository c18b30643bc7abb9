"""The committed dump is what the migrations lead to."""

from __future__ import annotations

from db import connect, migrate, schema
from tests import oldest


@oldest.embedded_only
async def test_the_dump_is_current(empty_database_url: str) -> None:
    conn = await connect.postgres(empty_database_url)
    await migrate.up(conn)
    await conn.close()
    assert schema.difference(schema.FILE.read_text(), schema.of(empty_database_url)) == ""


def test_what_differs_between_versions_of_pg_dump_is_left_out() -> None:
    text = (
        "--\n-- PostgreSQL database dump\n--\n\n\\restrict aBc\n\n-- Dumped by pg_dump version 18.6\n\n"
        "SET transaction_timeout = 0;\nSELECT pg_catalog.set_config('search_path', '', false);\n\n\n"
        "CREATE TABLE public.t (\n    id integer\n);\n"
        "ALTER TABLE ONLY public.t ALTER COLUMN id SET (pg_attver=5);\n\n\n"
        "--\n-- Name: u\n--\n\nCREATE TABLE public.u (\n);\n\n"
        "\\unrestrict aBc\n\n"
    )
    assert schema.normalise(text) == (
        schema.HEAD + "CREATE TABLE public.t (\n    id integer\n);\n\nCREATE TABLE public.u (\n);\n"
    )


def test_a_difference_is_shown() -> None:
    assert schema.difference("a\nb\n", "a\nc\n").splitlines()[-3:] == [" a", "-b", "+c"]
