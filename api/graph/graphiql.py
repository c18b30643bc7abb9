"""GraphiQL for browsers, from files of ours: nothing comes from elsewhere, and nothing but these scripts runs."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Final

from aiohttp import web

from api import assets
from api.errors import Problem
from api.state import STATE

FOLDER: Final = Path(__file__).with_name("graphiql_files")
FILES: Final = (
    *("explorer.css", "explorer.js", "graphiql.min.css", "graphiql.min.js"),
    *("react.production.min.js", "react-dom.production.min.js"),
)
_FOLDER: Final = assets.Folder(FOLDER, FILES)
_PAGE: Final = Template((FOLDER / "page.html").read_text(encoding="utf-8"))


def page(request: web.Request) -> web.Response:
    """The page; its files are named relative to it, so that a proxy may put the API below a path."""
    files = "../graphql/graphiql" if request.path.endswith("/userProgress/graphql") else "graphql/graphiql"
    return assets.page(_PAGE.substitute(files=files), vary="Accept")


async def file(request: web.Request) -> web.Response:
    """GET /graphql/graphiql/{file}."""
    if not request.app[STATE].settings.introspects:
        raise Problem("not_found", "there is no such file")
    return _FOLDER.answer(request)
