"""The architecture: its steps and figures are those of the code, each decision has its four parts."""

from __future__ import annotations

import re

from api import reads, waiting
from db import appending, models
from jobs.tracking import session
from tests.docs.pages import ARCHITECTURE, OPERATIONS, ROOT
from worker import apply, batch, drain, seen

RECORDS = sorted((ROOT / "docs" / "adr").glob("0*.md"))


def test_the_numbered_steps_are_those_of_the_code() -> None:
    steps = re.findall(r"^\| (\d+) (\w+) \| ", ARCHITECTURE, re.MULTILINE)
    assert [int(number) for number, _ in steps] == list(range(1, 11))
    comments = "".join((ROOT / "worker" / name).read_text() for name in ("batch.py", "apply.py", "drain.py"))
    for number, name in steps[:7]:
        assert re.search(rf"# .*\b{number} {name}\b", comments), f"{number} {name}"
    assert "8 to 10" in comments


def test_the_figures_of_the_architecture_are_those_of_the_code() -> None:
    for words in (
        f"about {appending.ENTRY_BYTES >> 10} KiB",
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
        assert words in ARCHITECTURE, words
    assert f"for up to {models.MODEL_SECONDS // 60} minutes" in OPERATIONS


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
