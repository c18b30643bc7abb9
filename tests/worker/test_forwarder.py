"""Analytics effects as Segment's HTTP API takes them, on a real receiver."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from db.settings import Settings
from jobs.effects import effect as effects
from jobs.family import Effect
from tests.worker import receiver
from tests.worker.office import office
from tests.worker.receiver import AT, effect

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")


async def test_first_times_and_what_the_setting_lists_are_tracked(settings: Settings) -> None:
    async with receiver.receiver() as there:
        base = there.url.removesuffix("/hook")
        # Where the settings say needs no permission: it is no stranger's word.
        changes: dict[str, Any] = {
            "analytics_url": base + "/",
            "analytics_key": "write-key",
            "analytics_types": ("usage.*",),
        }
        async with office(settings, webhook_allow=(), **changes) as made:
            await made.synced()
            await made.put(
                [
                    effect(1, "first_created_clip", projectId="p-1"),
                    Effect("usage.threshold_reached", "e-2", "org:o-1", AT, {"threshold": 80}),
                    effect(3, "certificate.issued"),
                ]
            )
            await made.stands(delivered=2)
    calls = {got.json["event"]: got for got in there.got}
    assert {got.path for got in there.got} == {"/v1/track"}
    first = calls["first_created_clip"]
    assert first.headers["authorization"] == "Basic " + base64.b64encode(b"write-key:").decode()
    assert first.json == {
        "type": "track",
        "messageId": effects.message_id("user:u-1", "e-1"),
        "userId": "u-1",
        "event": "first_created_clip",
        "properties": {"projectId": "p-1"},
        "timestamp": "2026-11-21T08:00:00Z",
        "context": {"library": {"name": "milepost", "version": "0.1.0"}},
    }
    of_org = calls["usage.threshold_reached"].json
    assert of_org["anonymousId"] == "org:o-1"
    assert "userId" not in of_org
    assert "webhook-signature" not in first.headers


async def test_a_key_is_demanded() -> None:
    with pytest.raises(ValueError, match="MILEPOST_ANALYTICS_URL needs MILEPOST_ANALYTICS_KEY"):
        Settings(_env_file=None, analytics_url="http://a.example")
