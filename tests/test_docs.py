"""What the documentation names exists, what exists is named, and every example does what the text beside it says."""

from __future__ import annotations

import io
import json
import re
import runpy
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.metrics import MetricWrapperBase

from api import app, body, ingest, reads, waiting
from bench import report
from bench.rows import Row
from db import dev, metrics, models, stream
from db.settings import Settings
from db.state import State
from jobs import action, door
from jobs.action import Draft
from jobs.families import KINDS
from jobs.kind import Kind
from jobs.tracking import session
from tests.api.service import Service, running
from worker import apply, batch, drain, seen

ROOT = Path(__file__).parents[1]
DOCS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "bench/peers/README.md",
]
RECORDS = sorted((ROOT / "docs" / "adr").glob("0*.md"))
ACTIONS = (ROOT / "docs" / "actions.md").read_text()
README = (ROOT / "README.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
each = pytest.mark.parametrize("path", DOCS, ids=lambda path: str(path.relative_to(ROOT)))


def code(text: str) -> list[str]:
    """Every code span and every line of a block of code."""
    fences = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return [*spans, *(line for fence in fences for line in fence.splitlines())]


def all_code() -> Iterator[str]:
    """That of all documents."""
    for path in DOCS:
        yield from code(path.read_text())


# Commands


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for line in all_code() for name in re.findall(r"(?<![\w.])make ([a-z]+)", line)}
    assert named <= targets
    assert {"demo", "up", "test", "check", "bench", "chaos"} <= named


def commands() -> dict[tuple[str, ...], set[str]]:
    """(module, subcommand, …) -> options, of every `python -m …`."""
    found: dict[tuple[str, ...], set[str]] = {}
    for line in all_code():
        for module, rest in re.findall(r"python -m ([a-z_.]+)([^#·]*)", line):
            words = rest.split()
            subs = []
            for word in words:
                if not re.fullmatch(r"[a-z]+(\|[a-z]+)*", word):
                    break
                subs.append(word.split("|"))
            options = {word.split("=")[0] for word in re.findall(r"(?<!\S)--[a-z][a-z-]*", rest)}
            for chosen in _choices(subs):
                found.setdefault((module, *chosen), set()).update(options)
    return found


def _choices(words: list[list[str]]) -> list[tuple[str, ...]]:
    chosen: list[tuple[str, ...]] = [()]
    for alternatives in words:
        chosen = [(*before, word) for before in chosen for word in alternatives]
    return chosen


def helped(words: tuple[str, ...]) -> tuple[object, str]:
    """How `python -m … --help` ends and what it says; in this process, for a start of Python takes half a second."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(said):
        patch.setenv("COLUMNS", "200")
        patch.syspath_prepend(ROOT / "docs" / "examples")
        patch.setattr(sys, "argv", [words[0], *words[1:], "--help"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    return ended.value.code or 0, said.getvalue()


@pytest.mark.filterwarnings("ignore:.* found in sys.modules")
def test_python_commands_exist_with_their_options() -> None:
    wanted = commands()
    assert {("api",), ("worker",), ("db", "migrate"), ("jobs", "dead", "retry"), ("bench.report",)} <= wanted.keys()
    assert {words[0].split(".")[0] for words in wanted} <= {
        *("api", "worker", "jobs", "db", "bench", "milepost_client", "upload_service")
    }
    for words, options in wanted.items():
        code, said = helped(words)
        assert code == 0, (words, said)
        missing = {option for option in options if option not in said}
        assert not missing, (words, missing)


@pytest.mark.filterwarnings("ignore:.* found in sys.modules")
def test_every_operators_command_is_documented() -> None:
    named = commands()
    for module in ("db", "jobs"):
        listed = helped((module,))[1].split("Commands:")[1]
        for command in re.findall(r"^  ([a-z]+) ", listed, re.MULTILINE):
            spelled = any(words[:2] == (module, command) for words in named)
            assert spelled or re.search(rf"`{command}\b", OPERATIONS), f"python -m {module} {command}"


def test_variables_are_settings() -> None:
    known = {f"MILEPOST_{name.upper()}" for name in Settings.model_fields}
    known |= {"MILEPOST_URL", "MILEPOST_KEY", "MILEPOST_STATE"}
    for path in DOCS:
        assert set(re.findall(r"MILEPOST_[A-Z_]+[A-Z]", path.read_text())) <= known, path


# Metrics


def test_every_metric_is_explained_and_none_is_invented() -> None:
    real = {one._name for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)}
    section = OPERATIONS.split("\n## Metrics and alerts\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(milepost_\w+)` \| \S", section, re.MULTILINE) == [
        one._name for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)
    ]
    pages = [path.read_text() for path in DOCS if path.parent.name != "peers"]
    named = {name for page in pages for name in re.findall(r"\bmilepost_[a-z_]+[a-z]", page)}
    assert {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in named} <= real | {"milepost_client"}


# Routes


def test_every_route_is_named_and_none_is_invented() -> None:
    real = {(route.method, route.path) for route in app.routes()}
    paths = {path for _, path in real}
    for path in DOCS:
        text = path.read_text()
        named = set(re.findall(r"\b(GET|POST|PUT|PATCH|DELETE) (/[\w/{}-]*(?:\.[a-z]+)?)", text))
        assert named - {("POST", "/")} <= real, path
        assert set(re.findall(r"`(/[a-z][\w/{}.-]*)[?`]", text)) <= paths, path
    assert set(re.findall(r"\b(GET|POST|PUT|PATCH|DELETE) (/[\w/{}.-]+)", README)) == real


# Links, paths, words


def anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if re.match(r"https?://", target):
            assert re.match(r"https://(keepachangelog\.com|semver\.org)/", target), target
        else:
            name, _, anchor = target.partition("#")
            page = path.parent / name if name else path
            assert page.exists(), target
            assert not anchor or anchor in anchors(page), target


@each
def test_files_exist(path: Path) -> None:
    folders = "api|worker|jobs|db|bench|tests|docs"
    for span in code(path.read_text()):
        for name in re.findall(rf"(?<![\w./-])((?:{folders})/[\w./-]*[\w/])(?![\w*])", span):
            assert (ROOT / name).exists(), name


@each
def test_nothing_of_one_machine_and_nothing_of_how_it_was_made(path: Path) -> None:
    text = path.read_text()
    assert not re.findall(r"(?<![\w.])/(?:work|root|home|tmp|var|usr|opt)\b/?", text)
    hosts = r"pypi\.org|pythonhosted|npmjs|deb\.debian|docker\.io|ghcr\.io|proxy\.golang"
    assert not re.findall(hosts, text, re.IGNORECASE)
    makers = (
        r"session notes|\bLLM\b|\bAI (?:agent|assistant)|\bsub-?agents?\b|\bprompts?\b|issue #?\d+|\bTODO\b|\bFIXME\b"
    )
    assert not re.findall(makers, text, re.IGNORECASE)


SYNONYMS = {
    r"shards?|sharding": "partition",
    r"tenants?|(?<!`)organization\w*": "organisation",  # a view is named as in the seeds
    r"DLQ|dead[- ]letter queue": "dead letter",
    r"watermark": "position",
    r"api[- ]keys?": "service key",
    r"access tokens?|bearer tokens?": "user token",
    r"visits? table|sessions table": "user_sessions",
    r"idempotency keys?|event ids?": "id",
    r"event types?": "kind",
    r"ingestion|ingested": "accepted, taken",
    r"blazing\w*|seamless\w*|robust\w*|powerful|cutting[- ]edge|world[- ]class|simply|easily": "no such word",
}


@each
def test_one_word_for_one_idea(path: Path) -> None:
    text = re.sub(r"`\w+`", "", path.read_text())  # tables have the names that others gave them
    for words, ours in SYNONYMS.items():
        assert not re.findall(rf"\b(?:{words})\b", text, re.IGNORECASE), f"say: {ours}"


# Decisions


def test_decisions_have_their_four_parts_on_one_page() -> None:
    assert [path.name[:4] for path in RECORDS] == [f"{number:04d}" for number in range(1, len(RECORDS) + 1)]
    index = (ROOT / "docs" / "adr" / "README.md").read_text()
    for path in RECORDS:
        text = path.read_text()
        title = text.splitlines()[0].removeprefix("# ")
        parts = ["Context", "Decision", "Consequences", "Alternatives considered"]
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == parts, path.name
        assert len(text.splitlines()) <= 60, path.name
        assert f"- [{title}]({path.name})" in index


# Architecture


def test_the_numbered_steps_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    steps = re.findall(r"^\| (\d+) (\w+) \| ", text, re.MULTILINE)
    assert [int(number) for number, _ in steps] == list(range(1, 11))
    comments = "".join((ROOT / "worker" / name).read_text() for name in ("batch.py", "apply.py", "drain.py"))
    for number, name in steps[:7]:
        assert re.search(rf"# .*\b{number} {name}\b", comments), f"{number} {name}"
    assert "8 to 10" in comments


# Actions


def kinds() -> dict[str, str]:
    """Kind -> its section."""
    sections = re.split(r"^### ([\w.]+)$", ACTIONS, flags=re.MULTILINE)[1:]
    return dict(zip(sections[::2], sections[1::2], strict=True))


def told(section: str) -> list[tuple[str, str, bool]]:
    """(field, type, required) of the table."""
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \| (yes|no) \| \S.* \|$", section, re.MULTILINE)
    return [(name, kind, required == "yes") for name, kind, required in rows]


def described(kind: Kind) -> list[tuple[str, str, bool]]:
    """The same from the JSON Schema that GET /v1/kinds answers."""
    schema = msgspec.json.schema(kind.payload)
    free = {name: "object" if is_object else "any JSON" for name, is_object, _ in kind.free}
    return list(_fields(schema["$defs"], schema["$ref"], free))


def _fields(
    schemas: dict[str, Any], ref: str, free: dict[str, str], prefix: str = ""
) -> Iterator[tuple[str, str, bool]]:
    schema = schemas[ref.rsplit("/", 1)[1]]
    for name, given in schema["properties"].items():
        own = next((one for one in given.get("anyOf", ()) if one.get("type") != "null"), given)
        required = name in schema["required"]
        if "$ref" in own:
            yield prefix + name, "object", required
            yield from _fields(schemas, own["$ref"], {}, f"{prefix}{name}.")
        else:
            yield prefix + name, free.get(name) or _type(own), required


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in sorted(schema["enum"]))
    if schema.get("format") == "date-time":
        return "RFC 3339 with an offset"
    if schema["type"] == "string":
        least, most = schema.get("minLength", 0), schema["maxLength"]
        return f"text, {least} to {most} characters" if least else f"text, up to {most} characters"
    kind: str = schema["type"]
    return f"{kind}, {_number(schema['minimum'])} to {_number(schema['maximum'])}" if "minimum" in schema else kind


def _number(value: float) -> str:
    text = f"{value:.0f}"
    return text if len(text) < 13 else f"{value:.0e}".replace("e+", "e")


def test_every_kind_is_documented_field_by_field() -> None:
    sections = kinds()
    assert list(sections) == list(KINDS)
    for name, kind in KINDS.items():
        assert told(sections[name]) == described(kind), name
        assert ("Sheddable" in sections[name]) == kind.sheddable, name
        only = re.search(r"^Sent by: ([\w, ]+)\.", sections[name], re.MULTILINE)
        assert kind.senders == (set(only[1].split(", ")) if only else {"user", "service", "admin"}), name


def test_the_tables_named_are_those_of_the_kinds() -> None:
    from jobs.families import BY_KIND

    for name, section in kinds().items():
        assert section.strip().startswith(f"Table `{BY_KIND[name][0].table(name).table}`"), name


def test_the_envelope() -> None:
    table = ACTIONS.split("The fields of an action:")[1].split("\n## ")[0]
    named = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(named) == sorted(Draft.__struct_encode_fields__)


def test_the_limits_named_are_those_of_the_code() -> None:
    for words in (
        f"up to {body.MAX_ACTIONS:,} in `actions`",
        f"{app.BODY_BYTES >> 20} MiB unpacked",
        f"more than {door.AHEAD.seconds // 60} minutes ahead",
        f"More than {door.BEHIND.days} days back",
        f"Before {door.EARLIEST.year}",
        f"{door.MAX_BYTES >> 10} KiB for an action",
        f"{door.MAX_DEPTH} levels, {door.MAX_KEYS:,} keys",
        f"({ingest.MAX_WAIT:.0f} s at most)",
        f"(`flags` {action.CLAMPED})",
        f"flagged ({action.LATE})",
        f"`flags` {action.OWN_ID} says that the id is ours",
    ):
        assert words in ACTIONS or words.strip("()") in ACTIONS, words


def test_the_figures_of_the_architecture_are_those_of_the_code() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for words in (
        f"about {stream.ENTRY_BYTES >> 10} KiB",
        f"{models.MODEL_SECONDS // 60} minutes, and are a copy",
        f"an empty model for {models.DROPPED_SECONDS} s",
        f"{session.IDLE.seconds // 60} idle minutes",
        f"{seen.MOST_IDS:,} for each partition",
        f"about {batch.ISOLATED} actions at most",
        f"{drain.CONTENDED[0]} to {drain.CONTENDED[1]} s",
        f"pause of up to {drain.PATIENCE:.0f} s",
        f"has waited {drain.STALLED:.0f} s",
        f"more than {apply.PAST.days} days ago, or {apply.FUTURE.days} days ahead",
        f"waits up to {reads.AFTER_SECONDS:.0f} s",
        f"every {waiting.POLL_SECONDS} s",
    ):
        assert words in text, words
    assert f"for up to {models.MODEL_SECONDS // 60} minutes" in OPERATIONS


# Examples, sent


@pytest.fixture
async def pipe(settings: Settings) -> AsyncIterator[Service]:
    """The API and a drain, with as many partitions as by default."""
    partitions = Settings.model_fields["partitions"].default
    async with running(settings.model_copy(update={"partitions": partitions}), draining=True) as service:
        yield service


def examples() -> list[tuple[str, str, str]]:
    """(route, language, body) of every block of JSON in docs/actions.md; the route is the one named last before it."""
    found = []
    for block in re.finditer(r"^```(json|ndjson)\n(.*?)^```", ACTIONS, re.MULTILINE | re.DOTALL):
        route = re.findall(r"`POST (/[\w/-]+)`", ACTIONS[: block.start()])[-1]
        found.append((route, block[1], block[2]))
    return found


async def test_every_example_is_accepted_and_applied(pipe: Service) -> None:
    sent = 0
    for route, language, text in examples():
        if language == "json" and "accepted" in json.loads(text):
            continue
        media = {"json": "application/json", "ndjson": "application/x-ndjson"}[language]
        answer = await pipe.send(text.encode(), route, Prefer="wait=10", Content_Type=media)
        assert (answer.status, answer.body["rejected"]) == (200, []), text
        for result in answer.body["results"]:
            assert result["duplicate"] is False, text
            assert "error" not in result["outcome"], (text, result)
        sent += 1
    # What only admins send is about something that is there already.
    assert sent == len([kind for kind in KINDS.values() if kind.senders != {"admin"}]) + 6
    assert await pipe.sql.fetchval("SELECT count(*) FROM dead_letters") == 0


def test_the_answer_shown_has_the_fields_of_an_answer() -> None:
    shown = [json.loads(text) for _, language, text in examples() if language == "json" and '"accepted"' in text]
    shown += [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL)]
    assert len(shown) == 2
    for answer in shown:
        decoded = msgspec.convert(answer, ingest.Answer)
        assert json.loads(msgspec.json.encode(decoded)) == answer


def first_screen() -> tuple[str, str]:
    """The line that reads the key, and the command that sends an action."""
    shell = next(text for text in re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL) if "curl" in text)
    key_line, curl = shell.split("\n", 1)
    return key_line, curl


def test_the_key_is_found_where_the_first_screen_looks(tmp_path: Path) -> None:
    state = State(tmp_path / ".milepost")
    settings = Settings(_env_file=None, database_url="postgresql://x", redis_url="redis://y")
    dev.write(state, dev.describe(state, settings))
    line = f'{first_screen()[0]}\nprintf %s "$KEY"'
    read = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert read.stdout == state.secrets["serviceKey"]


async def test_the_first_screen_does_what_it_says(pipe: Service) -> None:
    curl = first_screen()[1]
    body = curl[curl.index("-d '") + 4 : curl.rindex("'")].encode()
    answer = await pipe.send(body)
    assert answer.status == 202
    shown = json.loads(re.findall(r"^```json\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[0])
    assert {**answer.body, "position": ""} == {**shown, "position": ""}
    assert answer.body["position"].split(".")[0] == shown["position"].split(".")[0]
    await pipe.settle(answer)
    for query, table in re.findall(r"^(SELECT [^\n]*;)\n\n(.*?)(?:\n\n|\n```)", README, re.MULTILINE | re.DOTALL):
        lines = [[cell.strip() for cell in line.split("|")] for line in table.splitlines()]
        (row,) = await pipe.sql.fetch(query)
        assert [*row.keys()] == lines[0]
        assert [str(value) for value in row.values()] == lines[2]
    again = await pipe.send(body, Prefer="wait=10")
    assert again.body["results"][0]["duplicate"] is True


def test_dead_letters_have_the_codes_that_are_explained() -> None:
    explained = OPERATIONS.split("**Dead letters appear.**")[1].split("\n\n")[0]
    source = "".join(path.read_text() for path in sorted((ROOT / "worker").glob("*.py")))
    codes = re.findall(r'[lL]etter\(position, [^)]*?"(\w+)", ', source)
    assert set(codes) == set(re.findall(r"`(\w+)`: ", explained))


# Performance


def test_figures_go_between_the_marks() -> None:
    page = report.PAGE.read_text()
    machine = page.partition(report.BEGIN)[2].partition(".\n")[0].removeprefix("Measured on ")
    figures = report.Figures(machine, [Row("a | b", "x", ">= 1", "1/s", "2/s", "0.50", reached=False)])
    put = report.put(page, figures)
    assert "| a \\| b | 1/s | x | 2/s | 0.50 | >= 1 | missed |" in put
    assert put.count("\n") == page.count("\n") + 1, "what was not measured stays"
    assert report.put(put, figures) == put
