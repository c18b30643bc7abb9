"""How deep, how costly and how often aliased a GraphQL document is: told before anything else looks at it.

All three are of the document as if its fragments were written out. Each fragment is measured once, so that neither
fragments that multiply nor fragments that form a cycle cost time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
)

PAGE: Final = 10
"""Items of a list whose query names no `limit`."""
MOST_ITEMS: Final = 100
"""Items of a list whose `limit` is a variable, or more than a page may have."""
LISTS: Final = frozenset(("userProgressList",))
"""Fields that answer with as many items as their `limit` says."""
INTROSPECTION: Final = frozenset(("__schema", "__type"))


class Size(NamedTuple):
    """Of a selection."""

    depth: int = 0
    """Levels of fields."""
    cost: int = 0
    """Fields, those below a list once for each item."""
    aliases: int = 0
    """Fields that have an alias."""

    def beside(self, other: Size) -> Size:
        """Both together."""
        return Size(max(self.depth, other.depth), self.cost + other.cost, self.aliases + other.aliases)


EMPTY: Final = Size()


class Measure:
    """Measures the operations of one document."""

    def __init__(self, document: DocumentNode) -> None:
        self._fragments = {
            one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)
        }
        self._known: dict[str, Size] = {}
        self._open: set[str] = set()
        self.circular = False
        """A fragment holds itself: GraphQL's own rules refuse that, and to follow it would never end."""

    def operation(self, operation: OperationDefinitionNode) -> Size:
        """The size of one operation. Raises RecursionError where it is nested deeper than Python goes."""
        return self._selections(operation.selection_set)

    def roots(self, operation: OperationDefinitionNode) -> set[str]:
        """The names of the fields that an operation begins with."""
        return {field.name.value for field in self._fields([operation.selection_set])}

    def repeats(self, operation: OperationDefinitionNode) -> int:
        """How often one field of the answer is written, at most: comparing them all takes time by the square.

        To be asked when the cost is known to be small and nothing to be circular.
        """
        most, levels = 0, [[operation.selection_set]]
        while levels:
            named = defaultdict[str, list[FieldNode]](list)
            for field in self._fields(levels.pop()):
                named[(field.alias or field.name).value].append(field)
            for fields in named.values():
                most = max(most, len(fields))
                below = [field.selection_set for field in fields if field.selection_set is not None]
                levels += [below] if below else []
        return most

    def _fields(self, selections: Iterable[SelectionSetNode]) -> list[FieldNode]:
        """The fields of selections that stand together, each fragment once."""
        found: list[FieldNode] = []
        seen: set[str] = set()
        waiting: list[SelectionNode] = [one for chosen in selections for one in chosen.selections]
        while waiting:
            one = waiting.pop()
            if isinstance(one, FieldNode):
                found.append(one)
            elif isinstance(one, InlineFragmentNode):
                waiting += one.selection_set.selections
            elif isinstance(one, FragmentSpreadNode) and (name := one.name.value) not in seen:
                seen.add(name)
                if name in self._fragments:
                    waiting += self._fragments[name].selection_set.selections
        return found

    def _selections(self, selections: SelectionSetNode | None) -> Size:
        size = EMPTY
        for one in selections.selections if selections is not None else ():
            if isinstance(one, FieldNode):
                size = size.beside(self._field(one))
            elif isinstance(one, InlineFragmentNode):
                size = size.beside(self._selections(one.selection_set))
            elif isinstance(one, FragmentSpreadNode):
                size = size.beside(self._fragment(one.name.value))
        return size

    def _field(self, field: FieldNode) -> Size:
        below = self._selections(field.selection_set)
        # What tools ask of the schema is deep by nature; the library bounds it by a rule of its own.
        depth = 1 if field.name.value in INTROSPECTION else 1 + below.depth
        return Size(depth, 1 + below.cost * _items(field), below.aliases + (field.alias is not None))

    def _fragment(self, name: str) -> Size:
        if name in self._known:
            return self._known[name]
        if name in self._open:
            self.circular = True
            return EMPTY
        self._open.add(name)
        fragment = self._fragments.get(name)
        self._known[name] = EMPTY if fragment is None else self._selections(fragment.selection_set)
        self._open.discard(name)
        return self._known[name]


def _items(field: FieldNode) -> int:
    if field.name.value not in LISTS:
        return 1
    limit = next((one.value for one in field.arguments or () if one.name.value == "limit"), None)
    if isinstance(limit, VariableNode):
        return MOST_ITEMS
    if isinstance(limit, IntValueNode) and len(limit.value) <= 9:
        return min(MOST_ITEMS, max(1, int(limit.value)))
    return PAGE if limit is None else MOST_ITEMS
