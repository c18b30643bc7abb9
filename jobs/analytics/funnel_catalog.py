"""What the catalog says of analytics: the categories of a product, and its funnels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

DEFAULT: Final = "default"
ORDERED: Final = "order_attempt"
MAX_STEPS: Final = 100
"""A fact is held against one step of each funnel, however many there are."""

Text = Annotated[str, Meta(min_length=1, max_length=256)]
FunnelName = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_-]{0,63}\Z")]
SessionKind = Literal[
    "interaction.recorded", "configuration.saved", "page.viewed", "event.tracked", "user.identified", "session.ended"
]
Faults = Iterator[tuple[tuple[str | int, ...], str]]


class _Section(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    pass


class Step(_Section):
    """One step: its `title`, and what a fact must be. A step that asks for nothing is the beginning of the session."""

    title: Text
    kind: SessionKind | None = None
    category: Text | None = None
    """Of an interaction."""
    path: Text | None = None
    """Of a page view."""
    event: Text | None = None
    """The name of a tracked event."""
    trigger: Literal["auto_save", "page_exit", "order_attempt"] | None = None
    """Of a configuration."""
    value: Text | None = None
    """What was selected."""

    @property
    def is_beginning(self) -> bool:
        """Whether it asks for nothing."""
        return (self.kind, self.named, self.value) == (None, None, None)

    @property
    def named(self) -> tuple[str, str] | None:
        """(kind, name) of the facts that have this name."""
        for name, kind in _NAMES.items():
            if (given := getattr(self, name)) is not None:
                return kind, given
        return None


_NAMES: Final = {
    "category": "interaction.recorded",
    "path": "page.viewed",
    "event": "event.tracked",
    "trigger": "configuration.saved",
}


class Funnel(_Section):
    """Steps in their order, within `window` seconds of the first."""

    name: FunnelName
    steps: Annotated[tuple[Step, ...], Meta(min_length=2, max_length=MAX_STEPS)]
    window: Annotated[int, Meta(ge=1, le=90 * 86_400)] = 86_400


class Analytics(_Section):
    """`categories`: what visitors go through, in their order; the default funnel is made of them."""

    categories: Annotated[tuple[Text, ...], Meta(max_length=MAX_STEPS - 2)]


def funnels(analytics: Analytics, given: Sequence[Funnel]) -> tuple[Funnel, ...]:
    """Those of the catalog behind the default one: start, each category, order attempt."""
    steps = (
        Step("start"),
        *(Step(name, category=name) for name in analytics.categories),
        Step("order attempt", trigger=ORDERED),
    )
    return (Funnel(DEFAULT, steps), *given)


def faults(analytics: Analytics, given: Sequence[Funnel]) -> Faults:
    """What the types cannot say: path and reason."""
    seen = {DEFAULT}
    for number, funnel in enumerate(given):
        if funnel.name in seen:
            reason = "is made of the categories of [analytics]" if funnel.name == DEFAULT else "stands twice"
            yield ("funnels", number, "name"), f"{funnel.name} {reason}"
        seen.add(funnel.name)
        yield from _steps(("funnels", number, "steps"), funnel.steps)
    for number, name in enumerate(analytics.categories):
        if name in analytics.categories[:number]:
            yield ("analytics", "categories", number), f"{name} stands twice"


def _steps(path: tuple[str | int, ...], steps: Sequence[Step]) -> Faults:
    for number, step in enumerate(steps):
        names = [name for name in _NAMES if getattr(step, name) is not None]
        if len(names) > 1:
            yield (*path, number), f"a step has one of {', '.join(_NAMES)}; this one has {' and '.join(names)}"
        elif step.named is not None and step.kind not in {None, step.named[0]}:
            yield (*path, number, "kind"), f"only {step.named[0]} has a {names[0]}"
        if step.is_beginning and number:
            yield (*path, number), "only the first step may ask for nothing: it is the beginning of the session"
