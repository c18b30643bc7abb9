"""Documents that are too much: refused before they cost anything."""

from __future__ import annotations

import time
from typing import Any

import pytest
from graphql import parse

from api.graph import documents as graph_documents
from api.graph import schema as graph_schema
from api.graph.documents import Documents, Limits, Refused
from tests.api.graph import Learner
from tests.api.service import Service

SCHEMA = graph_schema.build()


def documents(depth: int = 10, cost: int = 5000) -> Documents:
    """None remembered yet."""
    return Documents(SCHEMA, Limits(depth, cost, introspection=True))


def refused(source: str) -> list[str]:
    """The codes of a document, or nothing for one that is taken."""
    try:
        documents().operation(source, None)
    except Refused as error:
        return [one["extensions"]["code"] for one in error.errors]
    return []


def _many(number: int, field: str = 'getUserProgressStats(userId: "u") { success }') -> str:
    return "".join(f"a{n}: {field} " for n in range(number))


def _laughs(levels: int) -> str:
    """Fragments, each of which holds the next one twice."""
    chain = "".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }} " for n in range(levels))
    return f"{{ ...f0 }} {chain} fragment f{levels} on Query {{ __typename }}"


LIST = "userProgressList(limit: {}) {{ items {{ id userId lessonId courseId completed watch_time_seconds }} }}"
TOO_MUCH = {
    "50 levels": "{ " + "data { " * 50 + "id" + " }" * 51,
    "11 levels": "{ " + "data { " * 10 + "id" + " }" * 11,
    "900 levels": "{ " + "data { " * 900 + "id" + " }" * 901,
    "levels through fragments": (
        "{ data { data { ...a } } } fragment a on X { data { data { data { data { ...b } } } } } "
        "fragment b on X { data { data { data { data { data { id } } } } } }"
    ),
    "levels in a value": '{ userProgress(id: "x") { code @skip(if: ' + "[" * 900 + "]" * 900 + ") } }",
    "51 aliases": "{ " + _many(51) + "}",
    "51 mutations": "mutation { " + _many(51, 'deleteUserProgress(id: "x") { success }') + "}",
    "51 aliases of a leaf": '{ userProgress(id: "x") { data { ' + _many(51, "id") + "} } }",
    "aliases through fragments": "{ ...f ... { ...f } } fragment f on Query { " + _many(26) + "}",
    "a field 21 times": "{ " + 'userProgress(id: "x") { success } ' * 21 + "}",
    "a field 21 times below": '{ userProgress(id: "x") { ' + "data { id } " * 21 + "} }",
    "a field 25 times, nested": "{ " + ('userProgress(id: "x") { ' + "data { id } " * 5 + "} ") * 5 + "}",
    "long lists": "{ " + _many(9, LIST.format(100)) + "}",
    "long lists by variable": "query ($n: Int) { " + _many(9, LIST.format("$n")) + "}",
    "fragments that multiply": _laughs(100),
    "many operations": "".join(f"query q{n} {{ ...f0 }} " for n in range(50)) + _laughs(9).partition("}")[2],
    "tokens": "{ " + "__typename " * 2100 + "}",
    "characters": "{ __typename }" + " " * 40_000,
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much_is_refused_at_once(name: str) -> None:
    started = time.perf_counter()
    codes = refused(TOO_MUCH[name])
    assert time.perf_counter() - started < 10  # without the limits: seconds, or for ever
    assert codes in (["graphql_too_complex"], ["graphql_syntax"])
    if name not in {"tokens", "900 levels", "levels in a value"}:
        assert codes == ["graphql_too_complex"]


@pytest.mark.parametrize(
    "source",
    [
        "{ " + _many(50) + "}",
        "mutation { " + _many(50, 'deleteUserProgress(id: "x") { success }') + "}",
        "{ " + LIST.format(100) + "}",
        _laughs(4),
        "{ " + 'userProgress(id: "x") { success } ' * 20 + "}",
    ],
    ids=["50 aliases", "50 mutations", "a long list", "a few fragments", "a field 20 times"],
)
def test_much_is_taken(source: str) -> None:
    assert refused(source) == []


@pytest.mark.parametrize(
    "source",
    [
        "{ ...f } fragment f on Query { ...f __typename }",
        "{ ...f } fragment f on Query { ...g } fragment g on Query { ...f __typename }",
        (
            '{ userProgress(id: "x") { ...f } } fragment f on UserProgressResponse { data { ...g } } '
            "fragment g on UserProgress { id data { ...g } }"
        ),
        "{ __typename } fragment g on UserProgress { id data { ...g } }",
        "{ ...nothing }",
    ],
)
def test_fragments_that_hold_themselves_end(source: str) -> None:
    assert set(refused(source)) == {"graphql_invalid"}


def test_what_tools_ask_of_the_schema_is_no_depth_but_bounded() -> None:
    deep = "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }"
    assert refused(deep) == ["graphql_invalid"]
    assert refused("{ __schema { types { fields { type { ofType { ofType { ofType { name } } } } } } } }") == []


def test_limits_are_settings() -> None:
    three = '{ userProgress(id: "x") { data { id } } }'
    documents(depth=3).operation(three, None)
    with pytest.raises(Refused, match="3 levels of fields; 2 are the limit"):
        documents(depth=2).operation(three, None)
    with pytest.raises(Refused, match="a cost of 3; 2 is the limit"):
        documents(cost=2).operation(three, None)


def test_which_operation() -> None:
    two = "query a { __typename } mutation b { __typename }"
    assert documents().operation(two, "b").type.value == "mutation"
    for source, name in (
        (two, None),
        (two, "c"),
        ("{ __typename }", "c"),
        ("fragment f on Query { __typename }", None),
    ):
        with pytest.raises(Refused):
            documents().operation(source, name)


def test_documents_are_parsed_once_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def counted(source: str, **more: Any) -> Any:
        parsed.append(source)
        return parse(source, **more)

    monkeypatch.setattr(graph_documents, "parse", counted)
    monkeypatch.setattr(graph_documents, "REMEMBERED", 100)
    held = documents()
    first = "{ __typename } # first"
    for _ in range(3):
        held.operation(first, None)
    assert parsed == [first]
    for number in range(20):
        held.operation(first, None)
        held.operation(f"{{ __typename }} # {number}", None)
    assert parsed.count(first) == 1  # whatever is asked all the time stays
    assert sum(map(len, held._known)) == held._characters <= 100
    held.operation("{ __typename } # 0", None)
    assert parsed.count("{ __typename } # 0") == 2
    held.operation("{ __typename }" + " " * 9000, None)
    assert held._characters <= 100


@pytest.mark.usefixtures("quiet")
async def test_over_http(service: Service) -> None:
    answer = await Learner(service).post(TOO_MUCH["50 levels"], Accept="application/graphql-response+json")
    assert answer.status == 400
    assert b"51 levels of fields; 10 are the limit" in answer.body
