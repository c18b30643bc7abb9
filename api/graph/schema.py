"""The GraphQL schema: `api/schema.graphql` as it stands, with a resolver for every root field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from graphql import GraphQLInputObjectType, GraphQLObjectType, GraphQLSchema, build_schema

from api.graph.mutations import MUTATIONS
from api.graph.queries import QUERIES

FILE: Final = Path(__file__).with_name("schema.graphql")
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def build() -> GraphQLSchema:
    """The schema that is served. Raises KeyError for a root field without a resolver."""
    schema = build_schema(FILE.read_text(encoding="utf-8"))
    for root, resolvers in ((schema.query_type, QUERIES), (schema.mutation_type, MUTATIONS)):
        for name, field in (root.fields if root is not None else {}).items():
            field.resolve = resolvers[name]
    for one in schema.type_map.values():
        _name(one)
    return schema


def _name(one: Any) -> None:
    """Resolvers are called with names as Python has them: `user_id` for userId."""
    if isinstance(one, GraphQLInputObjectType):
        for name, field in one.fields.items():
            field.out_name = _HUMP.sub("_", name).lower()
    elif isinstance(one, GraphQLObjectType) and not one.name.startswith("__"):
        for field in one.fields.values():
            for name, argument in field.args.items():
                argument.out_name = _HUMP.sub("_", name).lower()
