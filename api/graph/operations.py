"""The routes of api/graph/endpoint.py as the OpenAPI document tells them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from api.graph.request import GraphqlRequest
from api.operation import BODY, BY_HEADER, JSON, LIMITS, WHO, Operation
from api.schemas import TEXT, Json, path, query

_ANSWER: Final[Json] = {
    "type": "object",
    "properties": {
        "data": {"type": "object", "description": "By the name or alias of each field; null for one that failed."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["message", "extensions"],
                "properties": {
                    "message": TEXT,
                    "path": {"type": "array"},
                    "locations": {"type": "array"},
                    "extensions": {
                        "type": "object",
                        "required": ["code"],
                        "properties": {"code": TEXT},
                    },
                },
            },
        },
    },
}
_ASKED: Final = ("graphql_request", "graphql_syntax", "graphql_invalid", "graphql_too_complex", "not_acceptable")
_FIELDS: Final = (
    *("unknown_progress", "unknown_lesson", "unknown_course", "lesson_of_another_course", "forbidden_subject"),
    *("invalid_id", "invalid_data", "invalid_parameter", "missing_subject", "rate_limited", "database_unavailable"),
    *("log_unavailable", "graphql_timeout"),
)
_ABOUT: Final = (
    "GraphQL over HTTP; introspection tells the schema. `Accept: application/graphql-response+json` has 400 for "
    "what is not executed, where `application/json` has 200 with `errors`; both name a code in `extensions`. What a "
    "field cannot do is `success: false` with a `code` and 200; what it may not do is an error of that field. "
)


def _operations() -> Iterator[Operation]:
    for route, name in (("/userProgress/graphql", "UserProgress"), ("/graphql", "")):
        yield Operation(
            *("POST", route, f"graphql{name}", "Course progress by GraphQL: a query or a mutation"),
            {200: ("What the operation found and did.", JSON, _ANSWER)},
            _ABOUT + "Mutations wait up to 2 s for their outcome (`Prefer: wait=N`); `Idempotency-Key` makes a retry "
            "count once.",
            codes=(*WHO, *BODY, *_ASKED, *_FIELDS, "backlog_full", "family_off"),
            security=BY_HEADER,
            parameters=("Prefer", "ContentEncoding"),
            bodies=("GraphqlRequest",),
            headers=LIMITS,
        )
        yield Operation(
            *("GET", route, f"queryGraphql{name}", "Course progress by GraphQL: a query"),
            {200: ("What the query found.", JSON, _ANSWER)},
            _ABOUT + "With `Accept: text/html`, and outside production, the answer is GraphiQL.",
            codes=(*WHO, *_ASKED, *_FIELDS, "method_not_allowed"),
            security=BY_HEADER,
            parameters=("GraphqlQuery", "GraphqlVariables", "GraphqlOperationName"),
            headers=LIMITS,
        )


OPERATIONS: Final = (
    *_operations(),
    Operation(
        *("GET", "/graphql/graphiql/{file}", "readGraphiqlFile", "A file of the GraphiQL page"),
        {200: ("A script or a style sheet.", "text/javascript", TEXT)},
        "Outside production, or where MILEPOST_GRAPHQL_INTROSPECTION is `on`.",
        codes=("not_found",),
        parameters=("GraphiqlFile",),
    ),
)
PARAMETERS: Final[Json] = {
    "GraphqlQuery": query("query", TEXT, "The document.", example="{ __typename }"),
    "GraphqlVariables": query("variables", TEXT, "The variables, a JSON object.", example="{}"),
    "GraphqlOperationName": query("operationName", TEXT, "Which operation of the document, where it has several."),
    "GraphiqlFile": path("file", {"enum": ["explorer.js"]}, "As the page names it."),
}
TYPES: Final = (GraphqlRequest,)
