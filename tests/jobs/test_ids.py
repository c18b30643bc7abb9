"""Ids of our own."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from jobs.action import new_id


def test_an_id_of_ours_is_a_uuid_that_sorts_by_time() -> None:
    now = datetime(2026, 11, 21, 8, 0, 0, 123_000, UTC)
    turns = [now + timedelta(milliseconds=number // 100) for number in range(1000)]
    ids = [new_id(turn) for turn in turns]
    assert len(set(ids)) == len(ids)
    for turn, text in zip(turns, ids, strict=True):
        found = uuid.UUID(text)
        assert (str(found), found.version, found.variant) == (text, 7, uuid.RFC_4122)
        assert found.int >> 80 == round(turn.timestamp() * 1000)
    assert [text[:13] for text in ids] == sorted(text[:13] for text in ids)
