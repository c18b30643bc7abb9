"""What the catalog says of meters and plans: its sections [[meters]], [plans] and [usage], as the file has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MeterName = Annotated[str, Meta(pattern=r"\A[A-Z][A-Z0-9_]{0,63}\Z")]
PlanName = MeterName
Feature = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,63}\Z")]
Most = Annotated[int, Meta(ge=0, le=1_000_000_000_000_000)]
Unlimited = Literal["unlimited"]
"""TOML knows no null."""

Faults = Iterator[tuple[tuple[str | int, ...], str]]


class _Section(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    pass


class Meter(_Section):
    """What is counted. A gauge may go down again and knows no periods; `limitedBy`: a plan's own field is its limit."""

    name: MeterName
    kind: Literal["counter", "gauge"] = "counter"
    unit: Annotated[str, Meta(min_length=1, max_length=32)] | None = None
    limited_by: Literal["storage", "teamSize"] | None = None


class Quota(_Section):
    """A limit in full; over a soft one (`hard` = false) goes what `overageCap` allows, everything without a cap."""

    limit: Most | Unlimited
    hard: bool = True
    overage_cap: Most | None = None


class PlanSection(_Section):
    """One plan. The higher `rank` is the upgrade; a meter that is not named is unlimited, 0 is off."""

    rank: Annotated[int, Meta(ge=0, le=1000)]
    limits: dict[MeterName, Most | Unlimited | Quota] = {}
    max_file_size: Most | Unlimited = "unlimited"
    storage: Most | Unlimited = "unlimited"
    team_size: Most | Unlimited = "unlimited"
    features: Annotated[tuple[Feature, ...], Meta(max_length=100)] = ()


class Upgrade(_Section):
    """What is said to whoever is at a limit; {plan}, {action} and {limit} are filled in."""

    url: Annotated[str, Meta(pattern=r"\Ahttps?://\S+\Z", max_length=500)]
    message: Annotated[str, Meta(min_length=1, max_length=500)]


class Usage(_Section):
    """`defaultPlan`: of subjects without one. `thresholds`: percentages. `closeAfterHours`: behind a period's end."""

    default_plan: PlanName
    thresholds: Annotated[tuple[Annotated[int, Meta(ge=1, le=100)], ...], Meta(max_length=10)]
    close_after_hours: Annotated[int, Meta(ge=0, le=24 * 35)]
    upgrade: Upgrade


def faults(meters: Sequence[Meter], plans: Mapping[str, PlanSection], usage: Usage) -> Faults:
    """What the types cannot say: path and reason."""
    names: set[str] = set()
    for number, meter in enumerate(meters):
        if meter.name in names:
            yield ("meters", number, "name"), f"{meter.name} stands twice"
        if meter.limited_by is not None and meter.kind == "counter":
            yield ("meters", number, "limitedBy"), "only a gauge can be limited by a plan's own field"
        names.add(meter.name)
    ranks: dict[int, str] = {}
    for plan, section in plans.items():
        if section.rank in ranks:
            yield ("plans", plan, "rank"), f"{ranks[section.rank]} has the rank {section.rank}, too"
        ranks[section.rank] = plan
        yield from _limits(plan, section, meters)
    if usage.default_plan not in plans:
        yield ("usage", "defaultPlan"), f"{usage.default_plan} is none of [plans]"
    if list(usage.thresholds) != sorted(set(usage.thresholds)):
        yield ("usage", "thresholds"), "thresholds go up, each stands once"


def _limits(plan: str, section: PlanSection, meters: Sequence[Meter]) -> Faults:
    known = {meter.name: meter for meter in meters}
    for name, quota in section.limits.items():
        path = ("plans", plan, "limits", name)
        if name not in known:
            yield path, f"{name} is none of [[meters]]"
        elif (own := known[name].limited_by) is not None:
            yield path, f"{name} is limited by the plan's own `{own}`"
        if isinstance(quota, Quota) and quota.hard and quota.overage_cap is not None:
            yield (*path, "overageCap"), "a hard limit has no overage: say `hard = false`"
