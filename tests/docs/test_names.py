"""Metrics, routes and codes: what the pages name exists, and what exists is named."""

from __future__ import annotations

import re

from prometheus_client.metrics import MetricWrapperBase

from api import app
from db import metrics
from tests.docs.pages import DOCS, OPERATIONS, README, ROOT


def test_every_metric_is_explained_and_none_is_invented() -> None:
    real = {one._name for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)}
    section = OPERATIONS.split("\n## Metrics and alerts\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(milepost_\w+)` \| \S", section, re.MULTILINE) == [
        one._name for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)
    ]
    pages = [path.read_text() for path in DOCS if path.parent.name != "peers"]
    named = {name for page in pages for name in re.findall(r"\bmilepost_[a-z_]+[a-z]", page)}
    assert {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in named} <= real | {"milepost_client"}


def test_every_route_is_named_and_none_is_invented() -> None:
    real = {(route.method, route.path) for route in app.routes()}
    paths = {path for _, path in real}
    for path in DOCS:
        text = path.read_text()
        named = set(re.findall(r"\b(GET|POST|PUT|PATCH|DELETE) (/[\w/{}-]*(?:\.[a-z]+)?)", text))
        assert named - {("POST", "/")} <= real, path
        assert set(re.findall(r"`(/[a-z][\w/{}.-]*)[?`]", text)) <= paths, path
    assert set(re.findall(r"\b(GET|POST|PUT|PATCH|DELETE) (/[\w/{}.-]*)", README)) == real


def test_dead_letters_have_the_codes_that_are_explained() -> None:
    explained = OPERATIONS.split("**Dead letters appear.**")[1].split("\n\n")[0]
    source = "".join(path.read_text() for path in sorted((ROOT / "worker").glob("*.py")))
    codes = re.findall(r'[lL]etter\(position, [^)]*?"(\w+)", ', source)
    assert set(codes) == set(re.findall(r"`(\w+)`: ", explained))
