"""One rule of GraphQL, a little wider: a variable that is given where an id is wanted may be a `String`, too."""

from __future__ import annotations

from typing import Any

from graphql import (
    GraphQLError,
    GraphQLID,
    GraphQLNonNull,
    GraphQLSchema,
    GraphQLString,
    GraphQLType,
    OperationDefinitionNode,
    ValueNode,
    VariablesInAllowedPositionRule,
    type_from_ast,
)
from graphql.validation.rules.variables_in_allowed_position import allowed_variable_usage


class IdsMayBeStrings(VariablesInAllowedPositionRule):
    """Clients of services that call their ids `String` work as they are: what is text may be an id."""

    def leave_operation_definition(self, operation: OperationDefinitionNode, *_: Any) -> None:
        """Compare every use of a variable with its declaration."""
        schema = self.context.schema
        for usage in self.context.get_recursive_variable_usages(operation):
            declared: Any = self.var_def_map.get(usage.node.name.value)
            given = None if declared is None else type_from_ast(schema, declared.type)
            if given is None or usage.type is None:
                continue  # said by other rules
            if not _fits(schema, given, declared.default_value, usage.type, usage.default_value):
                message = f"Variable '${usage.node.name.value}' of type '{given}' used in position expecting type"
                self.report_error(GraphQLError(f"{message} '{usage.type}'.", [declared, usage.node]))


def _fits(
    schema: GraphQLSchema, given: GraphQLType, value: ValueNode | None, wanted: GraphQLType, default: Any
) -> bool:
    if allowed_variable_usage(schema, given, value, wanted, default):
        return True
    if _bare(wanted) is not GraphQLID or _bare(given) is not GraphQLString:
        return False
    text = GraphQLNonNull(GraphQLString) if isinstance(wanted, GraphQLNonNull) else GraphQLString
    return allowed_variable_usage(schema, given, value, text, default)


def _bare(one: GraphQLType) -> GraphQLType:
    return one.of_type if isinstance(one, GraphQLNonNull) else one
