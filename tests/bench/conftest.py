"""The API with a drain, on a database of the test's own, and an operator who starts the demo beside it."""

from __future__ import annotations

from tests.jobs.conftest import operator, pipe

__all__ = ["operator", "pipe"]
