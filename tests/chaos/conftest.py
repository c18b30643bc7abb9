"""Chaos needs Linux and time: what is marked slow runs with SLOW=1, or when `-m` asks for it."""

from __future__ import annotations

import os
import sys

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """The mark of this folder."""
    config.addinivalue_line("markers", "slow: takes longer than ten seconds; runs with SLOW=1 or -m slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what was not asked for."""
    asked = bool(os.environ.get("SLOW")) or "slow" in (config.getoption("-m") or "")
    for item in items:
        if item.get_closest_marker("slow") and not asked:
            item.add_marker(pytest.mark.skip(reason="slow: set SLOW=1"))
        if "tests/chaos" in item.nodeid and sys.platform != "linux":
            item.add_marker(pytest.mark.skip(reason="reads /proc"))
