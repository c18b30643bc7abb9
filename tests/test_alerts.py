"""The alerts fire where they should and are silent below; they and the dashboard name metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from db import metrics

DOCS = Path(__file__).parents[1] / "docs"
ALERTS = (DOCS / "alerts.yml").read_text()
NAMES = re.findall(r"- alert: (\w+)", ALERTS)


def exposed() -> set[str]:
    """Every name that a scrape can hold."""
    found: set[str] = set()
    for one in vars(metrics).values():
        if isinstance(one, MetricWrapperBase):
            endings = ["_total"] if isinstance(one, Counter) else [""]
            if isinstance(one, Histogram):
                endings = ["_bucket", "_sum", "_count"]
            found |= {one._name + ending for ending in endings}
    return found


def named(text: str) -> set[str]:
    """Every metric of ours that a text names."""
    return set(re.findall(r"\bmilepost_\w+", text))


def promtool() -> str:
    """The path of Prometheus's own checker; without one the test is skipped, and says so."""
    found = shutil.which("promtool")
    if found is None:
        warnings.warn("NOT TESTED: docs/alerts.yml needs promtool, of the package prometheus", stacklevel=2)
        pytest.skip("no promtool: apt-get install -y --no-install-recommends prometheus")
    return found


@pytest.mark.parametrize("words", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts.test.yml")])
def test_every_alert_fires_and_is_silent_as_its_test_says(words: tuple[str, ...]) -> None:
    done = subprocess.run([promtool(), *words], cwd=DOCS, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_both_ways() -> None:
    tested = re.findall(r"- name: (\w+) (fires|is silent)", (DOCS / "alerts.test.yml").read_text())
    assert sorted(tested) == sorted((name, way) for name in NAMES for way in ("fires", "is silent"))


def test_alerts_name_metrics_that_exist_and_say_where_to_look() -> None:
    assert named(ALERTS) <= exposed()
    assert ALERTS.count("summary:") == ALERTS.count("look:") == len(NAMES) == len(set(NAMES))


def test_the_operators_table_is_that_of_the_rules() -> None:
    table = re.findall(r"^\| `(Milepost\w+)` \|", (DOCS / "operations.md").read_text(), re.MULTILINE)
    assert table == NAMES


def expressions(dashboard: dict[str, Any]) -> list[str]:
    """Those of all panels."""
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    dashboard = json.loads((DOCS / "grafana.json").read_text())
    shown = named("\n".join(expressions(dashboard)))
    assert shown <= exposed()
    names = {one._name for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)}
    assert {name for name in names if not any(one.startswith(name) for one in shown)} == set()
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
