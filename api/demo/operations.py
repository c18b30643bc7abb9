"""The routes of api/demo/ as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api.operation import Json, Operation

_TEXT: Final[Json] = {"type": "string"}

OPERATIONS: Final = (
    Operation(
        *("GET", "/demo", "readDemoElsewhere", "A user's page"),
        {302: ("It is at `/demo/`.", "text/plain", _TEXT)},
    ),
    Operation(
        *("GET", "/demo/", "readDemo", "A user's page: the checklist and the meters, live"),
        {200: ("A page, which asks for a user token, or takes it from the fragment `#token=…`.", "text/html", _TEXT)},
    ),
    Operation(
        *("GET", "/demo/{file}", "readDemoFile", "A file of the user's page; `components.js` is for other pages, too"),
        {200: ("A script, a style sheet or a picture.", "text/javascript", _TEXT)},
        codes=("not_found",),
        parameters=("DemoFile",),
    ),
    Operation(
        *("GET", "/milepost.js", "readSnippet", "The script that records what visitors of a page do"),
        {200: ("A script.", "text/javascript", _TEXT)},
    ),
)
PARAMETERS: Final[Json] = {
    "DemoFile": {
        "name": "file",
        "in": "path",
        "required": True,
        "schema": {"enum": ["components.js"]},
        "description": "As the page names it.",
    },
}
