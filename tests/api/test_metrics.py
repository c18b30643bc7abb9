"""The figures move, and the documentation names every one of them."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from db.appending import BacklogFull
from db.settings import Settings
from tests.api.service import Service, running

SAMPLES = ("_bucket", "_sum", "_created")


async def figures(service: Service) -> dict[str, float]:
    """name{labels} -> value of all of Milepost's samples."""
    answer = await service.get("/metrics", by=None)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return {name: value for name, value in found.items() if name.startswith("milepost_")}


def moved(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """By how much each counter moved."""
    return {
        name: value - before.get(name, 0)
        for name, value in after.items()
        if value != before.get(name, 0) and not any(part in name for part in SAMPLES)
    }


async def test_counters_move(service: Service) -> None:
    before = await figures(service)
    good = {"kind": "session.ended", "sessionId": "metrics", "id": "m-1"}
    answer = await service.send({"actions": [good, good, {"kind": "nope"}, {"kind": 7}]}, Prefer="wait=10")
    assert answer.status == 200
    await service.send(b"{")
    await service.get("/nowhere")
    change = moved(before, await figures(service))
    expected = {
        "milepost_actions_accepted_total{kind=session.ended}": 2,
        "milepost_actions_rejected_total{code=unknown_kind}": 1,
        "milepost_actions_rejected_total{code=invalid_action}": 1,
        "milepost_actions_applied_total{kind=session.ended}": 1,
        "milepost_actions_duplicate_total{kind=session.ended}": 1,
        "milepost_http_seconds_count{method=POST,route=/v1/actions,status=200}": 1,
        "milepost_http_seconds_count{method=POST,route=/v1/actions,status=400}": 1,
        "milepost_http_seconds_count{method=GET,route=none,status=404}": 1,
        "milepost_batch_actions_count{}": 1,
    }
    assert {name: change.get(name) for name in expected} == expected


async def test_the_cache_is_counted(service: Service) -> None:
    sent = await service.send({"kind": "session.ended", "sessionId": "cached"})
    await service.settle(sent)
    before = await figures(service)
    await service.get("/v1/sessions/cached")
    await service.get("/v1/sessions/missed")
    change = moved(before, await figures(service))
    assert change["milepost_cache_reads_total{result=hit}"] == 1
    assert change["milepost_cache_reads_total{result=miss}"] == 1


async def test_a_refusal_of_the_log_is_counted_and_told(settings: Settings) -> None:
    async with running(settings) as service:
        before = await figures(service)
        service.state.log.refusal = BacklogFull("full")
        answer = await service.send({"kind": "session.ended", "sessionId": "s"})
        assert (answer.status, answer.error["code"], answer.headers["Retry-After"]) == (503, "backlog_full", "5")
        assert moved(before, await figures(service))["milepost_requests_refused_total{code=backlog_full}"] == 1


async def test_backlog_and_lag_are_seen(settings: Settings) -> None:
    async with running(settings) as service:
        await service.send({"kind": "session.ended", "sessionId": "s"})
        found = await figures(service)
        sizes = [found[f"milepost_backlog_bytes{{partition={number}}}"] for number in range(settings.partitions)]
        lags = [found[f"milepost_lag_seconds{{partition={number}}}"] for number in range(settings.partitions)]
        assert sum(size > 0 for size in sizes) == 1
        assert all(0 <= lag < 10 for lag in lags)


async def test_the_documentation_names_them_all(service: Service) -> None:
    answer = await service.get("/metrics", by=None)
    real = {
        family.name: family.documentation
        for family in text_string_to_metric_families(answer.body.decode())
        if family.name.startswith("milepost_") and not family.name.endswith("_created")
    }
    rows = re.findall(r"^\| `(\w+)` \| (?:[^|]*) \| (.*) \|$", Path("docs/metrics.md").read_text(), re.MULTILINE)
    assert dict(rows) == real
