"""Ordered funnels: which steps a session took, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jobs.analytics.funnel_catalog import Funnel, Step


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


def matches(step: Step, done: Done) -> bool:
    """Whether a fact is this step."""
    return (
        step.kind in {None, done.kind}
        and step.named in {None, (done.kind, done.name)}
        and step.value in {None, done.value}
    )


def taken(funnel: Funnel, facts: Sequence[Done]) -> list[float]:
    """When each step was taken, up to the first that was not; `facts` are in order.

    A step is the earliest fact behind that of the step before it, and lies within the window from the first step on.
    The beginning of the session is its first fact, which may be the next step, too.
    """
    times: list[float] = []
    left: Iterator[Done] = iter(facts)
    for step in funnel.steps:
        found = (facts[0] if facts else None) if step.is_beginning else _next(step, left)
        if found is None or (times and found.at > times[0] + funnel.window):
            break
        times.append(found.at)
    return times


def _next(step: Step, left: Iterator[Done]) -> Done | None:
    return next((done for done in left if matches(step, done)), None)
