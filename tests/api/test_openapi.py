"""The document says what the API does: compared both ways, sent as it says, and fuzzed."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import time
import uuid
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks as conformance

from api import app, docs_page, openapi, reads
from api.errors import CODES
from api.operations import OPERATIONS
from jobs.action import Draft
from jobs.families import KINDS
from tests.api.service import Service

DOCUMENT = openapi.described()


def test_every_route_is_described_and_nothing_is_invented() -> None:
    real = {(route.method, route.path) for route in app.routes()}
    told = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert told == real
    assert len({one.name for one in OPERATIONS}) == len(OPERATIONS)


def test_every_kind_has_its_schema() -> None:
    mapping = DOCUMENT["components"]["schemas"]["Action"]["discriminator"]["mapping"]
    assert mapping.keys() == KINDS.keys()
    for ref in mapping.values():
        schema = docs_page._component(DOCUMENT, ref)
        assert set(schema["properties"]) == set(Draft.__struct_encode_fields__)
        assert docs_page._resolved(DOCUMENT, schema["properties"]["data"])["description"]


def test_every_reference_leads_somewhere() -> None:
    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(ref := value.get("$ref"), str):
                assert docs_page._component(DOCUMENT, ref)
            for child in value.values():
                walk(child)
        elif isinstance(value, list):
            for child in value:
                walk(child)

    walk(DOCUMENT)


def _codes(*folders: str) -> set[str]:
    """Every code that the source raises: the first argument of these exceptions."""
    found: set[str] = set()
    for path in (path for folder in folders for path in Path(folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            first = node.args[0]
            if name in {"Problem", "Rejected", "Malformed", "unauthorized"} and isinstance(first, ast.Constant):
                found.add(str(first.value))
    return found


def test_every_code_that_is_raised_is_in_the_table() -> None:
    raised = _codes("api", "jobs")
    assert len(raised) > 20
    assert raised <= CODES.keys()


def test_every_code_of_a_request_is_told_by_some_route() -> None:
    everywhere = {"not_found", "method_not_allowed", "internal"}
    not_yet = {"invalid_parameter", "not_ready"}
    assert {code for one in OPERATIONS for code in one.codes} | everywhere | not_yet == CODES.keys()


async def test_the_examples_are_accepted(service: Service) -> None:
    for operation in (one for one in OPERATIONS if 202 in one.answers and one.answers[202][2] == "Answer"):
        for value in (operation.examples or {}).values():
            answer = await service.send(value, operation.path, Prefer="wait=10")
            assert (answer.status, answer.body.get("rejected")) == (200, []), (operation.path, answer)
    admin = await service.make_key("admin")
    for kind in docs_page._kinds(DOCUMENT):
        answer = await service.send(docs_page.kind_example(DOCUMENT, kind), by=admin, Prefer="wait=10")
        assert (answer.status, answer.body.get("rejected")) == (200, []), (kind["title"], answer)


async def test_the_page(service: Service) -> None:
    answer = await service.get("/docs", by=None)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    text = answer.body.decode()
    assert "<script" not in text
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text) == [], "something from elsewhere"
    assert " style=" not in text
    for name in [*KINDS, *(one.path for one in OPERATIONS), *CODES.keys() - {"invalid_parameter", "not_ready"}]:
        assert name in text


async def test_the_document_over_http(service: Service) -> None:
    answer = await service.get("/openapi.json", by=None)
    assert answer.status == 200
    assert answer.body == DOCUMENT
    kinds = await service.get("/v1/kinds", by=None)
    assert {one["kind"] for one in kinds.body["kinds"]} == set(KINDS)


CHECKS = [
    not_a_server_error,
    conformance.status_code_conformance,
    conformance.content_type_conformance,
    conformance.response_headers_conformance,
    conformance.response_schema_conformance,
]
FUZZ = hypothesis.settings(
    max_examples=200 if os.environ.get("SLOW") else 20,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
JITTER = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
"""The drain draws its pauses while an example is drawn in a thread: no strategy does."""


PATIENCE = 60.0


def check(case: schemathesis.Case[Any], base: str, key: str) -> None:
    """Send it, and hold the answer against the document.

    On a busy machine a decision may take longer than its request waits. That is said as described, and sent again.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        response = case.call(base_url=base, headers={"Authorization": f"Bearer {key}"})
        if response.status_code != 503 or time.monotonic() > deadline:
            break
        case.validate_response(response, checks=CHECKS[1:])
        assert "retry-after" in response.headers
    case.validate_response(response, checks=CHECKS)


@pytest.mark.usefixtures("quiet", "buries_nothing")
@pytest.mark.parametrize("wrong", [False, True], ids=["as described", "otherwise"])
@JITTER
async def test_fuzzed_it_answers_as_described(service: Service, monkeypatch: pytest.MonkeyPatch, wrong: bool) -> None:
    monkeypatch.setattr(reads, "AFTER_SECONDS", 0.02)
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    base = str(service.client.make_url("")).rstrip("/")
    mode = schemathesis.GenerationMode.NEGATIVE if wrong else schemathesis.GenerationMode.POSITIVE

    def fuzz() -> None:
        for result in schema.get_all_operations():
            operation = result.ok()  # type: ignore[union-attr]
            if "text/event-stream" in operation.definition.raw["responses"].get("200", {}).get("content", {}):
                continue  # it has no end: tests/api/test_live.py
            if wrong and not (operation.body or operation.query or operation.headers):
                continue

            @FUZZ
            @hypothesis.given(operation.as_strategy(generation_mode=mode))
            def one(case: schemathesis.Case[Any]) -> None:
                case.headers.pop("Content-Encoding", None)
                check(case, base, service.key)

            one()

    await asyncio.to_thread(fuzz)


async def test_an_unknown_route_is_an_error_like_all(service: Service) -> None:
    answer = await service.get(f"/{uuid.uuid4().hex}")
    assert (answer.status, answer.error["code"]) == (404, "not_found")
    answer = await service.ask("PUT", "/v1/actions")
    assert (answer.status, answer.error["code"], answer.headers["Allow"]) == (405, "method_not_allowed", "POST")
