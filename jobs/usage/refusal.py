"""What cannot be taken now, and may be later."""

from __future__ import annotations

from jobs.usage.states import States


class Refused(Exception):
    """No fact, a dead letter."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def meter(states: States, action: str) -> None:
    """Raises Refused when the catalog has it no more."""
    if action not in states.gauges:
        raise Refused("unknown_meter", f"the catalog has no meter {action!r}")
