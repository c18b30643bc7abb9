"""GraphQL documents: parsed, measured and validated once, then remembered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    ASTValidationRule,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    VariablesInAllowedPositionRule,
    parse,
    specified_rules,
    validate,
)

from api.graph.ids import IdsMayBeStrings
from api.graph.limits import EMPTY, Measure, Size

MAX_CHARACTERS: Final = 32_768
MAX_TOKENS: Final = 2_000
"""Some ten times the queries that tools send; what follows takes 0.1 s at most."""
MAX_ALIASES: Final = 50
MAX_REPEATS: Final = 20
MAX_ERRORS: Final = 10
MOST_REMEMBERED: Final = 8_192
"""Longer documents are not kept."""
REMEMBERED: Final = 262_144
"""Characters of all documents that are kept: up to 130 bytes each as syntax trees, 35 MB at the very worst."""


class Refused(Exception):
    """A document or a request that is not executed: what is wrong, as GraphQL says it."""

    def __init__(self, errors: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(errors[0]["message"])
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a valid document."""

    document: DocumentNode
    type: OperationType
    public: bool
    """It asks for nothing but the schema."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a document may be."""

    depth: int
    cost: int
    introspection: bool
    """Off: the schema is not told, neither when asked nor by suggestions in errors."""


Operations = Mapping[str, Operation]


class Documents:
    """The documents of one API process."""

    def __init__(self, schema: GraphQLSchema, limits: Limits) -> None:
        self.schema, self.limits = schema, limits
        ours = [IdsMayBeStrings if rule is VariablesInAllowedPositionRule else rule for rule in specified_rules]
        closed: list[type[ASTValidationRule]] = [] if self.limits.introspection else [NoSchemaIntrospectionCustomRule]
        self._rules = [*ours, *closed]
        self._known: OrderedDict[str, Operations] = OrderedDict()
        self._characters = 0

    def operation(self, source: str, name: str | None) -> Operation:
        """The operation to execute. Raises Refused."""
        operations = self._operations(source)
        if name is None:
            if len(operations) != 1:
                raise Refused([_error("graphql_invalid", "the document has several operations: send operationName")])
            return next(iter(operations.values()))
        if name not in operations:
            raise Refused([_error("graphql_invalid", "the document has no operation of this name")])
        return operations[name]

    def _operations(self, source: str) -> Operations:
        known = self._known.get(source)
        if known is not None:
            self._known.move_to_end(source)
            return known
        try:
            found = self._prepared(source)
        except RecursionError:
            raise _too_complex("the document is nested too deep") from None
        if len(source) <= MOST_REMEMBERED:
            self._remember(source, found)
        return found

    def _remember(self, source: str, found: Operations) -> None:
        self._known[source] = found
        self._characters += len(source)
        while self._characters > REMEMBERED:
            oldest, _ = self._known.popitem(last=False)
            self._characters -= len(oldest)

    def _prepared(self, source: str) -> Operations:
        if len(source) > MAX_CHARACTERS:
            raise _too_complex(f"a document of {len(source)} characters; {MAX_CHARACTERS} are the limit")
        try:
            document = parse(source, max_tokens=MAX_TOKENS)
        except GraphQLError as error:
            raise Refused([told(error, "graphql_syntax")]) from None
        measure = Measure(document)
        written = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
        whole = EMPTY
        for operation in written:
            whole = whole.beside(measure.operation(operation))
        self._check(whole)
        for operation in written if not measure.circular else ():
            if (repeats := measure.repeats(operation)) > MAX_REPEATS:
                raise _too_complex(f"one field of the answer stands {repeats} times; {MAX_REPEATS} are the limit")
        hidden = not self.limits.introspection
        wrong = validate(self.schema, document, self._rules, max_errors=MAX_ERRORS, hide_suggestions=hidden)
        if wrong:
            raise Refused([told(error, "graphql_invalid") for error in wrong])
        return {
            "" if one.name is None else one.name.value: Operation(document, one.operation, _is_public(measure, one))
            for one in written
        }

    def _check(self, size: Size) -> None:
        """Before the rules of GraphQL, some of which take time by the square of a document's size."""
        most = self.limits
        if size.depth > most.depth:
            raise _too_complex(f"{size.depth} levels of fields; {most.depth} are the limit: ask for less at once")
        if size.aliases > MAX_ALIASES:
            raise _too_complex(f"{size.aliases} aliases; {MAX_ALIASES} are the limit: send several requests")
        if size.cost > most.cost:
            raise _too_complex(
                f"a cost of {size.cost}; {most.cost} is the limit: every field costs 1, below a list once for each item"
            )


def told(error: GraphQLError, code: str) -> dict[str, Any]:
    """An error as an answer has it, with a code for programs."""
    shown: dict[str, Any] = {**error.formatted}
    shown["message"] = str(shown["message"])[:500]
    shown["extensions"] = {"code": code, **(error.extensions or {})}
    return shown


def _error(code: str, message: str) -> dict[str, Any]:
    return {"message": message, "extensions": {"code": code}}


def _too_complex(message: str) -> Refused:
    return Refused([_error("graphql_too_complex", message)])


def _is_public(measure: Measure, operation: OperationDefinitionNode) -> bool:
    return all(name.startswith("__") for name in measure.roots(operation))
