"""The kinds and limits of docs/actions.md are those of the code, field by field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from api import app, body, ingest
from jobs import action, door
from jobs.action import Draft
from jobs.families import BY_KIND, KINDS
from jobs.kind import Kind
from tests.docs.pages import ACTIONS


def kinds() -> dict[str, str]:
    """Kind -> its section."""
    sections = re.split(r"^### ([\w.]+)$", ACTIONS, flags=re.MULTILINE)[1:]
    return dict(zip(sections[::2], sections[1::2], strict=True))


def told(section: str) -> list[tuple[str, str, bool]]:
    """(field, type, required) of the table."""
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \| (yes|no) \| \S.* \|$", section, re.MULTILINE)
    return [(name, kind, required == "yes") for name, kind, required in rows]


def described(kind: Kind) -> list[tuple[str, str, bool]]:
    """The same from the JSON Schema that GET /v1/kinds answers."""
    schema = msgspec.json.schema(kind.payload)
    free = {name: "object" if is_object else "any JSON" for name, is_object, _ in kind.free}
    return list(_fields(schema["$defs"], schema["$ref"], free))


def _fields(
    schemas: dict[str, Any], ref: str, free: dict[str, str], prefix: str = ""
) -> Iterator[tuple[str, str, bool]]:
    schema = schemas[ref.rsplit("/", 1)[1]]
    for name, given in schema["properties"].items():
        own = next((one for one in given.get("anyOf", ()) if one.get("type") != "null"), given)
        required = name in schema["required"]
        if "$ref" in own:
            yield prefix + name, "object", required
            yield from _fields(schemas, own["$ref"], {}, f"{prefix}{name}.")
        else:
            yield prefix + name, free.get(name) or _type(own), required


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in sorted(schema["enum"]))
    if schema.get("format") == "date-time":
        return "RFC 3339 with an offset"
    if schema["type"] == "string":
        least, most = schema.get("minLength", 0), schema["maxLength"]
        return f"text, {least} to {most} characters" if least else f"text, up to {most} characters"
    kind: str = schema["type"]
    return f"{kind}, {_number(schema['minimum'])} to {_number(schema['maximum'])}" if "minimum" in schema else kind


def _number(value: float) -> str:
    text = f"{value:.0f}"
    return text if len(text) < 13 else f"{value:.0e}".replace("e+", "e")


def test_every_kind_is_documented_field_by_field() -> None:
    sections = kinds()
    assert list(sections) == list(KINDS)
    for name, kind in KINDS.items():
        assert told(sections[name]) == described(kind), name
        assert ("Sheddable" in sections[name]) == kind.sheddable, name
        only = re.search(r"^Sent by: ([\w, ]+)\.", sections[name], re.MULTILINE)
        assert kind.senders == (set(only[1].split(", ")) if only else {"user", "service", "admin"}), name


def test_the_tables_named_are_those_of_the_kinds() -> None:
    for name, section in kinds().items():
        assert section.strip().startswith(f"Table `{BY_KIND[name][0].table(name).table}`"), name


def test_the_envelope() -> None:
    table = ACTIONS.split("The fields of an action:")[1].split("\n## ")[0]
    named = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(named) == sorted(Draft.__struct_encode_fields__)


def test_the_limits_named_are_those_of_the_code() -> None:
    for words in (
        f"up to {body.MAX_ACTIONS:,} in `actions`",
        f"{app.BODY_BYTES >> 20} MiB unpacked",
        f"more than {door.AHEAD.seconds // 60} minutes ahead",
        f"More than {door.BEHIND.days} days back",
        f"Before {door.EARLIEST.year}",
        f"{door.MAX_BYTES >> 10} KiB for an action",
        f"{door.MAX_DEPTH} levels, {door.MAX_KEYS:,} keys",
        f"({ingest.MAX_WAIT:.0f} s at most)",
        f"(`flags` {action.CLAMPED})",
        f"flagged ({action.LATE})",
        f"`flags` {action.OWN_ID} says that the id is ours",
    ):
        assert words in ACTIONS or words.strip("()") in ACTIONS, words
