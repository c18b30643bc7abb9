"""The routes of api/demo/ as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api.operation import Operation
from api.schemas import TEXT, Json, path

OPERATIONS: Final = (
    Operation(
        *("GET", "/demo", "readDemoElsewhere", "A user's page"),
        {302: ("It is at `/demo/`.", "text/plain", TEXT)},
    ),
    Operation(
        *("GET", "/demo/", "readDemo", "A user's page: the checklist and the meters, live"),
        {200: ("A page, which asks for a user token, or takes it from the fragment `#token=…`.", "text/html", TEXT)},
    ),
    Operation(
        *("GET", "/demo/{file}", "readDemoFile", "A file of the user's page; `components.js` is for other pages, too"),
        {200: ("A script, a style sheet or a picture.", "text/javascript", TEXT)},
        codes=("not_found",),
        parameters=("DemoFile",),
    ),
    Operation(
        *("GET", "/milepost.js", "readSnippet", "The script that records what visitors of a page do"),
        {200: ("A script.", "text/javascript", TEXT)},
    ),
)
PARAMETERS: Final[Json] = {
    "DemoFile": path("file", {"enum": ["components.js"]}, "As the page names it."),
}
