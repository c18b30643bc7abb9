"""The kinds of usage: what is sent, by whom, and what the door says of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from jobs.action import Draft, Rejected, Role
from jobs.catalog import Catalog
from jobs.kind import ANYBODY, HOUSE, Id, Kind, Payload
from jobs.usage import periods
from jobs.usage.plan_catalog import Most

MOST: Final = 1_000_000_000
"""The largest quantity of one action."""
MAX_TTL: Final = 86_400
DEFAULT_TTL: Final = 300

Positive = Annotated[int, Meta(ge=1, le=MOST)]
Delta = Annotated[int, Meta(ge=-MOST, le=MOST)]
Name = Annotated[str, Meta(min_length=1, max_length=64, examples=["DIAGRAM_UPLOAD"])]
PlanWord = Annotated[str, Meta(min_length=1, max_length=64, examples=["PROFESSIONAL"])]
Zone = Annotated[str, Meta(min_length=1, max_length=64, examples=["Europe/Berlin"])]
Moment = Annotated[datetime, Meta(tz=True)]


class Recorded(Payload):
    """Something was used. It never fails and may pass a limit; `at` says in which period. A gauge takes less than 0."""

    action: Name
    quantity: Delta = 1
    resource_id: Id | None = None
    metadata: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class Consumed(Payload):
    """Use if it is allowed: checked and counted in one."""

    action: Name
    quantity: Positive = 1
    resource_id: Id | None = None
    file_size: Most | None = None
    metadata: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class Reserved(Payload):
    """Hold a quantity for `ttl` seconds, if it is allowed. The reservation has the id of this action."""

    action: Name
    quantity: Positive = 1
    ttl: Annotated[int, Meta(ge=1, le=MAX_TTL)] = DEFAULT_TTL
    resource_id: Id | None = None
    file_size: Most | None = None
    metadata: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class Committed(Payload):
    """Use what was reserved, or a part of it: the rest is free again."""

    reservation_id: Id
    quantity: Positive | None = None


class Released(Payload):
    """Nothing of what was reserved is used."""

    reservation_id: Id


class Adjusted(Payload):
    """A correction; `at` says in which period. What is used never becomes less than 0."""

    action: Name
    quantity: Delta
    reason: Annotated[str, Meta(min_length=1, max_length=500)]


class PlanChanged(Payload):
    """An upgrade holds at once, a downgrade from the period's end on, unless `effectiveAt` says otherwise."""

    plan: PlanWord
    effective_at: Moment | None = None


class LimitsSet(Payload):
    """A limit of this subject's own in the place of the plan's; null is unlimited. `removed`: the plan's again."""

    action: Name
    limit: Most | UnsetType | None = UNSET
    removed: bool = False
    hard: bool = True
    overage_cap: Most | None = None


class AccountSet(Payload):
    """Zone and billing, from the next period on. `anchorAt`: the day of the month is that of an anniversary."""

    zone: Zone | None = None
    billing: Literal["calendar", "anniversary"] | None = None
    anchor_at: Moment | None = None


def subject(draft: Draft) -> str | None:
    """The user, else the organisation."""
    if draft.user_id is not None:
        return "user:" + draft.user_id
    return None if draft.org_id is None else "org:" + draft.org_id


def _meter(payload: Any, catalog: Catalog) -> str:
    """The kind of the meter; Rejected when the catalog has none of this name."""
    for meter in catalog.meters:
        if meter.name == payload.action:
            return meter.kind
    names = ", ".join(meter.name for meter in catalog.meters[:20])
    raise Rejected("unknown_meter", f"no meter {payload.action!r}; the catalog has {names}", "$.data.action")


def _known_meter(payload: Any, catalog: Catalog) -> None:
    _meter(payload, catalog)


def _check_recorded(payload: Recorded, catalog: Catalog) -> None:
    kind = _meter(payload, catalog)
    if payload.quantity == 0 or (payload.quantity < 0 and kind == "counter"):
        raise Rejected("invalid_data", "Expected `int` >= 1", "$.data.quantity")


def _restrict_recorded(payload: Recorded, role: Role) -> None:
    if payload.quantity < 0 and role == "user":
        raise Rejected("forbidden_kind", "a user may not lower what is used", "$.data.quantity")


def _check_adjusted(payload: Adjusted, catalog: Catalog) -> None:
    _meter(payload, catalog)
    if payload.quantity == 0:
        raise Rejected("invalid_data", "a correction by 0 corrects nothing", "$.data.quantity")


def _check_limits(payload: LimitsSet, catalog: Catalog) -> None:
    _meter(payload, catalog)
    if (payload.limit is UNSET) is not payload.removed:
        raise Rejected("invalid_data", "either `limit` or `removed`", "$.data.limit")
    if payload.overage_cap is not None and (payload.hard or payload.limit is None):
        raise Rejected("invalid_data", "only a soft limit has an overage: say hard: false", "$.data.overageCap")


def _check_plan(payload: PlanChanged, catalog: Catalog) -> None:
    _check_moment(payload.effective_at, "effectiveAt")


def _check_account(payload: AccountSet, catalog: Catalog) -> None:
    if payload.zone is not None and not periods.is_zone(payload.zone):
        raise Rejected("unknown_zone", f"no time zone {payload.zone!r}: name one like Europe/Berlin", "$.data.zone")
    if payload.anchor_at is not None and payload.billing == "calendar":
        raise Rejected("invalid_data", "calendar months have no anchor", "$.data.anchorAt")
    if (payload.zone, payload.billing, payload.anchor_at) == (None, None, None):
        raise Rejected("invalid_data", "nothing to set: zone, billing or anchorAt", "$.data")
    _check_moment(payload.anchor_at, "anchorAt")


def _check_moment(moment: datetime | None, name: str) -> None:
    if moment is not None and not 1900 < moment.year < 3000:
        raise Rejected("invalid_data", "a time between 1901 and 2999", f"$.data.{name}")


_FREE: Final = ("metadata",)

KINDS: Final[Sequence[Kind]] = (
    Kind(
        *("usage.recorded", Recorded, subject, ANYBODY),
        objects=_FREE,
        check=_check_recorded,
        restrict=_restrict_recorded,
    ),
    Kind("usage.consumed", Consumed, subject, ANYBODY, objects=_FREE, check=_known_meter),
    Kind("usage.reserved", Reserved, subject, ANYBODY, objects=_FREE, check=_known_meter),
    Kind("usage.committed", Committed, subject, ANYBODY),
    Kind("usage.released", Released, subject, ANYBODY),
    Kind("usage.adjusted", Adjusted, subject, HOUSE, check=_check_adjusted),
    Kind("plan.changed", PlanChanged, subject, HOUSE, check=_check_plan),
    Kind("usage.limits_set", LimitsSet, subject, HOUSE, check=_check_limits),
    Kind("usage.account_set", AccountSet, subject, HOUSE, check=_check_account),
)
