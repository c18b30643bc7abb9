"""Whatever comes in, the door says yes or no; what it lets in, the worker applies."""

from __future__ import annotations

import contextlib
import json
import string
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import hypothesis
import msgspec
from hypothesis import HealthCheck
from hypothesis import strategies as st

from api import body, ingest
from api.errors import CODES
from db.stream import Entry, Position, pack
from jobs import catalog
from jobs.action import Draft, Sender
from jobs.families import KINDS
from worker import apply, decoding
from worker.applied import Applied

SENDERS = [
    Sender("key", "admin", frozenset({"ingest"})),
    Sender("user", "user", frozenset({"ingest"}), "u-1", "o-1"),
]
ODD_TEXT = st.sampled_from(
    [
        "",
        "\0",
        "\ud800",
        "\udfff",
        "\ufffe",
        "\x85",
        "\x7f",
        "\\u0000",
        "\\",
        '"',
        "é" * 200,
        "x" * 3000,
        "😀",
        "\u202e",
    ]
)
TEXT = ODD_TEXT | st.text(max_size=8) | st.text(string.ascii_letters, min_size=1, max_size=8)
NUMBERS = st.integers() | st.floats() | st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**300, 1e308, 5e-324, -0.0])
ANY = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
TIMES = st.datetimes(timezones=st.just(UTC) | st.timezones()).map(datetime.isoformat)
IDS = st.sampled_from(["s-1", "s-2", "u-1", "o-1", "x" * 128])
GOOD: dict[str, dict[str, Any]] = {
    "interaction.recorded": {"eventType": "click", "category": "c", "deviceInfo": {"type": "phone", "width": 1}},
    "configuration.saved": {"configuration": {"a": 1}, "trigger": "page_exit", "completionPercentage": 100},
    "metric.recorded": {"metricName": "m", "value": 1.5, "additionalData": [1]},
    "page.viewed": {"path": "/", "properties": {"a": [1]}},
    "event.tracked": {"event": "e", "properties": {"a": "b"}},
    "user.identified": {"traits": {"a": {"b": None}}},
    "session.ended": {},
    "onboarding.action_completed": {"action": "created_clip", "projectId": "p", "metadata": {"a": [1]}},
    "onboarding.step_completed": {"step": "WELCOME", "timeSpentSeconds": 3},
    "onboarding.step_skipped": {"step": "WELCOME"},
    "referral.code_requested": {},
    "referral.signed_up": {"code": "CLIPABCD"},
    "referral.qualified": {},
    "referral.rewarded": {"referrerOrgId": "o-1", "referredOrgId": "o-2"},
    "course.enrolled": {"courseId": "c", "learnerName": "Ada"},
    "lesson.watched": {"lessonId": "l", "seconds": 30, "courseId": "c"},
    "lesson.progress_set": {"lessonId": "l", "completed": True, "watchTimeSeconds": 30},
    "lesson.completed": {"lessonId": "l"},
    "lesson.reopened": {"lessonId": "l"},
    "lesson.progress_deleted": {"lessonId": "l"},
    "course.changed": {"courseId": "c", "version": 1},
    "certificate.revoked": {"courseId": "c", "reason": "r"},
    "certificate.reinstated": {"courseId": "c"},
    "usage.recorded": {"action": "DIAGRAM_UPLOAD", "quantity": 2, "resourceId": "r", "metadata": {"a": [1]}},
    "usage.consumed": {"action": "AI_ANALYSIS", "quantity": 1, "fileSize": 5, "metadata": {"a": "b"}},
    "usage.reserved": {"action": "AI_ANALYSIS", "quantity": 2, "ttl": 60, "resourceId": "r"},
    "usage.committed": {"reservationId": "r", "quantity": 1},
    "usage.released": {"reservationId": "r"},
    "usage.adjusted": {"action": "API_CALL", "quantity": -3, "reason": "refund"},
    "plan.changed": {"plan": "PROFESSIONAL", "effectiveAt": "2026-12-01T00:00:00Z"},
    "usage.limits_set": {"action": "EXPORT_PDF", "limit": 7, "hard": False, "overageCap": 2},
    "usage.account_set": {"zone": "Europe/Berlin", "billing": "anniversary", "anchorAt": "2026-01-31T00:00:00Z"},
}
"""One good payload of every kind."""


@st.composite
def actions(draw: st.DrawFn) -> Any:
    """A good action with up to two things about it that are odd."""
    kind = draw(st.sampled_from(sorted(GOOD)))
    data = dict(GOOD[kind])
    found: dict[str, Any] = {"kind": kind, "data": data}
    for name in draw(st.sets(st.sampled_from(["sessionId", "userId", "anonymousId", "orgId"]), min_size=1)):
        found[name] = draw(IDS)
    for target in (found, data):
        if draw(st.booleans()):
            names = sorted([*target, "id", "at", "orgId", "title", "timeSpent", "totalPrice", "properties"])
            target[draw(st.sampled_from(names) | TEXT)] = draw(ANY | TIMES | IDS)
    return found


def spoilt(draw: st.DrawFn, text: str) -> bytes:
    """JSON as it may come off a wire: escapes or raw bytes, now and then a byte too many, too few or another."""
    raw = text.encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 3)) == 0 and raw:
        at = draw(st.integers(0, len(raw) - 1))
        piece = draw(st.sampled_from([b"", b"\xff", b"\0", b"{", b"]", b"\\u0000", b"\\ud800", b"1e-99999", b"9" * 50]))
        raw = raw[:at] + piece + raw[at + draw(st.integers(0, 1)) :]
    return raw


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A body of one action, of several, or of anything."""
    value = draw(actions() | st.lists(actions() | ANY, max_size=4).map(lambda many: {"actions": many}) | ANY)
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    return spoilt(draw, text)


def judged(raw: bytes, lines: bool, sender: Sender) -> ingest.Judged | None:
    """The door's word on a body; anything but its own two exceptions is a fault."""
    with contextlib.suppress(body.Malformed):
        parsed = body.parse_lines(raw) if lines else body.parse(raw)
        found = ingest.judge(parsed, sender, datetime.now(UTC), catalog.default())
        assert len(parsed) == len(found.actions) + len(found.rejected)
        return found
    return None


def test_the_good_ones_are_good() -> None:
    for kind, data in GOOD.items():
        raw = json.dumps({"kind": kind, "sessionId": "s", "userId": "u", "orgId": "o", "data": data}).encode()
        found = judged(raw, False, SENDERS[0])
        assert found is not None
        assert found.rejected == []
    assert GOOD.keys() == KINDS.keys()


async def check(conn: asyncpg.Connection, found: ingest.Judged) -> None:
    """Refusals can be answered; what was accepted is applied."""
    msgspec.json.encode(found.rejected)
    assert {one.code for one in found.rejected} <= CODES.keys()
    records = [ingest._encode(action) for action in found.actions]
    applied = Applied(Position(1, 0))
    decoding.decode([Entry(Position(1, 0), pack(records))], applied)
    assert applied.dead == []
    assert len(applied.items) == len(found.actions)
    if applied.items:
        inner = conn.transaction()
        await inner.start()
        try:
            await apply.record(conn, applied.items, datetime.now(UTC) - timedelta(days=7), replay=False)
        finally:
            await inner.rollback()


SETTINGS = hypothesis.settings(
    max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), database=None, print_blob=True
)


@SETTINGS
@hypothesis.given(raw=bodies(), lines=st.booleans(), sender=st.sampled_from(SENDERS))
@hypothesis.example(
    b'{"kind":"event.tracked","data":{"event":"e","properties":{"a":1e-99999}},"userId":"u-1"}', False, SENDERS[0]
)
@hypothesis.example(b'{"kind":"session.ended","at":"0001-01-01T00:00:00Z","userId":"u-1"}', False, SENDERS[0])
async def test_the_door_takes_nothing_that_the_worker_cannot_apply(
    conn: asyncpg.Connection, raw: bytes, lines: bool, sender: Sender
) -> None:
    found = judged(raw, lines, sender)
    if found is not None:
        await check(conn, found)
        if sender.role == "user":
            assert {action.user_id for action in found.actions} <= {"u-1"}
            assert {action.org_id for action in found.actions} <= {"o-1"}


@SETTINGS
@hypothesis.given(st.binary(max_size=60), st.booleans())
@hypothesis.example(b'{"actions":[NaN,1]}', True)
@hypothesis.example(b'{"kind":7,"data":' + b"[" * 100_000, True)
@hypothesis.example(b'{"actions":[{"kind":null,"id":"\xed\xa0\x80"}]}', False)
def test_any_bytes(raw: bytes, lines: bool) -> None:
    judged(raw, lines, SENDERS[0])


@SETTINGS
@hypothesis.given(st.lists(actions(), min_size=1, max_size=5), st.booleans())
def test_a_batch_is_judged_like_its_actions_alone(many: list[Any], ascii_only: bool) -> None:
    pieces = [json.dumps(one, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") for one in many]
    alone = [judged(piece, False, SENDERS[0]) for piece in pieces]
    together = judged(b'{"actions":[' + b",".join(pieces) + b"]}", False, SENDERS[0])
    lines = judged(b"\n".join(pieces), True, SENDERS[0])
    codes = [one.rejected[0].code if one is not None and one.rejected else None for one in alone]
    for found in (together, lines):
        assert found is not None
        assert {one.index: one.code for one in found.rejected} == {i: code for i, code in enumerate(codes) if code}


def test_the_envelope_of_the_tests_is_the_real_one() -> None:
    assert {"id", "at", "orgId", "sessionId", "userId", "anonymousId"} < set(Draft.__struct_encode_fields__)
