"""Every page: its links and files exist, it says nothing of where it was written, and has one word for one idea."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs.pages import ROOT, code, each


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
