"""Pieces of JSON Schema that the entries of routes are made of."""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

OBJECT: Final[Json] = {"type": "object"}
TEXT: Final[Json] = {"type": "string"}
TIME: Final[Json] = {"type": "string", "format": "date-time"}
COUNT: Final[Json] = {"type": "integer", "minimum": 0}
SHARE: Final[Json] = {"type": "number", "minimum": 0, "maximum": 1}
YES: Final[Json] = {"const": True}


def fields(properties: Json, optional: Json | None = None, **more: object) -> Json:
    """An object that has all of these, and may have the optional ones."""
    return {"type": "object", "required": list(properties), "properties": properties | (optional or {}), **more}


def listed(item: Json) -> Json:
    """An array of these."""
    return {"type": "array", "items": item}


def nullable(schema: Json) -> Json:
    """The same, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def later(**more: Json) -> tuple[str, str, Json]:
    """The answer 202 of an update."""
    about = {"success": YES, "accepted": YES, **more, "position": TEXT}
    return "Durable; it was not applied within `wait`.", "application/json", fields(about)


def path(name: str, schema: Json, description: str, **more: object) -> Json:
    """A parameter in the path."""
    given = {"name": name, "in": "path", "required": True, "schema": schema}
    return {**given, "description": description, **more}


def query(name: str, schema: Json, description: str, **more: object) -> Json:
    """A parameter of the address."""
    return {"name": name, "in": "query", "schema": schema, "description": description, **more}
