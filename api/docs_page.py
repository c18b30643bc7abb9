"""The OpenAPI document as one page of HTML: no script, nothing from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]

STYLE: Final = Path(__file__).with_name("docs.css").read_text()


def render(document: Json) -> str:
    """The whole page."""
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    kinds = _kinds(document)
    body = [
        _nav(document, operations, kinds),
        "<main>",
        _intro(document),
        *(_operation(document, *one) for one in operations),
        *(_kind(document, kind) for kind in kinds),
        _errors(document),
        "</main>",
    ]
    title = escape(document["info"]["title"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title} API</title><style>{STYLE}</style></head><body>{''.join(body)}</body></html>"
    )


def example(document: Json, schema: Json) -> Any:
    """The smallest value that a schema takes."""
    schema = _resolved(document, schema)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "examples" in schema:
        return schema["examples"][0]
    kind = schema.get("type", "object")
    if kind == "object":
        fields = schema.get("properties", {})
        return {name: example(document, fields[name]) for name in schema.get("required", ())}
    return {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "array": []}[kind]


def kind_example(document: Json, kind: Json) -> Json:
    """One action of a kind that can be sent as it stands."""
    data = example(document, kind["properties"]["data"])
    return {"kind": kind["properties"]["kind"]["const"], **kind["x-subject"], "data": data}


def _resolved(document: Json, schema: Json) -> Json:
    ref = schema.get("$ref")
    return schema if ref is None else _component(document, ref)


def _component(document: Json, ref: str) -> Json:
    found: Any = document
    for name in ref.removeprefix("#/").split("/"):
        found = found[name]
    result: Json = found
    return result


def _kinds(document: Json) -> list[Json]:
    return [_resolved(document, one) for one in document["components"]["schemas"]["Action"]["oneOf"]]


def _text(markdown: str) -> str:
    """Escaped text with `code`, paragraphs and line ends."""
    html = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(markdown, quote=False))
    return html.replace("  \n", "<br>").replace("\n\n", "<p>")


def _method(method: str) -> str:
    return f'<span class="method {method.lower()}">{method}</span>'


def _nav(document: Json, operations: Iterable[tuple[str, str, Json]], kinds: Iterable[Json]) -> str:
    routes = "".join(f'<a href="#{one["operationId"]}">{_method(m)}{escape(p)}</a>' for m, p, one in operations)
    names = "".join(f'<a href="#{kind["title"]}">{kind["title"]}</a>' for kind in kinds)
    return (
        f'<nav><strong>{escape(document["info"]["title"])}</strong><a href="/openapi.json">openapi.json</a>'
        f'<h2>Routes</h2>{routes}<h2>Kinds</h2>{names}<h2>More</h2><a href="#errors">Errors</a></nav>'
    )


def _intro(document: Json) -> str:
    ways = [
        (f"<code>{name}</code>", _text(scheme["description"]))
        for name, scheme in document["components"]["securitySchemes"].items()
    ]
    info = document["info"]
    return (
        f'<h1>{escape(info["title"])} API <small class="soft">{escape(info["version"])}</small></h1>'
        f"<p>{_text(info['description'])}<h3>Who sends</h3>{_table(('', ''), ways)}"
    )


def _operation(document: Json, method: str, path: str, operation: Json) -> str:
    parts = [
        f'<section id="{operation["operationId"]}"><h2>{escape(operation["summary"])}</h2>',
        f"<p>{_method(method)}<code>{escape(path)}</code>",
        f"<p>{_text(operation['description'])}" if operation["description"] else "",
        _pre("Example", _curl(method, path, operation)),
        _parameters(document, operation),
        _fields(document, operation),
        _answers(operation),
    ]
    return "".join(parts) + "</section>"


def _curl(method: str, path: str, operation: Json) -> str:
    lines = [f"curl $MILEPOST{path.replace('{sessionId}', 's-1')}"]
    if operation["security"]:
        lines.append('-H "Authorization: Bearer $KEY"')
    bodies = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("examples", {})
    if not bodies:
        return " \\\n  ".join(lines)
    lines.append("-H 'Content-Type: application/json'")
    return "\n\n".join(" \\\n  ".join([*lines, f"-d '{json.dumps(one['value'])}'"]) for one in bodies.values())


def _pre(title: str, text: str) -> str:
    return f"<h3>{title}</h3><pre><code>{escape(text, quote=False)}</code></pre>"


def _parameters(document: Json, operation: Json) -> str:
    rows = []
    for one in operation["parameters"]:
        parameter = _resolved(document, one)
        name = f"<code>{escape(parameter['name'])}</code>"
        rows.append((name, parameter["in"], _text(parameter["description"])))
    return f"<h3>Parameters</h3>{_table(('Name', 'In', ''), rows)}" if rows else ""


def _fields(document: Json, operation: Json) -> str:
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if schema is None:
        return ""
    if "anyOf" in schema:
        return '<h3>Body</h3><p>One action, or <code>{"actions": […]}</code>, each as its kind below says.'
    return f"<h3>Body</h3>{_properties(document, _resolved(document, schema))}"


def _answers(operation: Json) -> str:
    rows = []
    for status, answer in operation["responses"].items():
        headers = ", ".join(f"<code>{name}</code>" for name in answer["headers"])
        shown = status if status < "400" else f'<span class="bad">{status}</span>'
        rows.append(
            (shown, _text(answer["description"]) + (f'<br><span class="soft">{headers}</span>' if headers else ""))
        )
    return f"<h3>Answers</h3>{_table(('Status', ''), rows)}"


def _kind(document: Json, kind: Json) -> str:
    sent = json.dumps(kind_example(document, kind))
    data = _resolved(document, kind["properties"]["data"])
    return (
        f'<section id="{kind["title"]}"><h2><code>{kind["title"]}</code></h2><p>{_text(kind["description"])}'
        f"{_pre('Example', sent)}<h3>data</h3>{_properties(document, data)}</section>"
    )


def _properties(document: Json, schema: Json) -> str:
    rows = [
        (
            f"<code>{escape(name)}</code>",
            "required" if name in schema.get("required", ()) else "",
            _text(_type(document, one)),
        )
        for name, one in _flat(document, schema)
    ]
    return _table(("Field", "", "Takes"), rows) if rows else '<p class="soft">No fields.'


def _flat(document: Json, schema: Json, prefix: str = "") -> Iterator[tuple[str, Json]]:
    """The fields of an object and, as `outer.inner`, of the objects in it."""
    for name, given in schema.get("properties", {}).items():
        inner = next((_resolved(document, one) for one in given.get("anyOf", [given]) if "$ref" in one), None)
        yield prefix + name, inner or given
        if inner is not None:
            yield from _flat(document, inner, f"{prefix}{name}.")


def _type(document: Json, schema: Json) -> str:
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type(document, _resolved(document, one)) for one in schema["anyOf"])
    kind = schema.get("type", "any JSON")
    text = " or ".join(kind) if isinstance(kind, list) else str(kind)
    bounds = [(f"at least {schema[key]}") for key in ("minimum", "minLength") if key in schema]
    bounds += [(f"at most {schema[key]}") for key in ("maximum", "maxLength") if key in schema]
    limits = f" ({', '.join(bounds)}{' characters' if 'maxLength' in schema else ''})" if bounds else ""
    return text + limits


def _errors(document: Json) -> str:
    seen: dict[str, tuple[str, str]] = {}
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                for code, meaning in re.findall(r"^`(\w+)`: (.*?) *$", answer["description"], re.MULTILINE):
                    seen.setdefault(code, (status, meaning))
    rows = [(f"<code>{code}</code>", status, _text(meaning)) for code, (status, meaning) in seen.items()]
    return f'<section id="errors"><h2>Errors</h2>{_table(("Code", "Status", ""), rows)}</section>'


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(heads)
    head = "".join(f"<th>{name}" for name in names) if any(names) else ""
    body = "".join("<tr>" + "".join(f"<td>{cell}" for cell in row) for row in rows)
    return f"<table><thead><tr>{head}</thead><tbody>{body}</tbody></table>"
