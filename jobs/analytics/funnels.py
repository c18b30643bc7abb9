"""Ordered funnels: which steps a session took, one after the other."""

from __future__ import annotations

from typing import NamedTuple

from jobs.analytics.funnel_catalog import Funnel


class Done(NamedTuple):
    """One fact of a session, as far as analytics looks at it."""

    at: float
    """Seconds since 1970."""
    id: str
    kind: str
    name: str | None = None
    """The category of an interaction, the path of a page, the name of an event, the trigger of a configuration."""
    value: str | None = None
    """What was selected."""


class Progress:
    """How far one session came in a funnel, fact by fact in their order.

    A step is the earliest fact behind that of the step before it, and lies within the window from the first step on.
    The beginning of the session is its first fact, which may be the next step, too.
    """

    def __init__(self, funnel: Funnel) -> None:
        self.name = funnel.name
        self.times: list[float] = []
        """When each step was taken, up to the first that was not."""
        self._window = funnel.window
        self._asked = [(step.is_beginning, step.kind, step.named, step.value) for step in funnel.steps]

    def take(self, done: Done) -> None:
        """The next fact."""
        times, asked = self.times, self._asked
        if not times and asked[0][0]:
            times.append(done.at)
        if len(times) == len(asked):
            return
        _, kind, named, value = asked[len(times)]
        if (
            (kind is None or kind == done.kind)
            and (named is None or named == (done.kind, done.name))
            and (value is None or value == done.value)
            and (not times or done.at <= times[0] + self._window)
        ):
            times.append(done.at)
