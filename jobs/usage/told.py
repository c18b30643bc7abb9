"""Accounts and counters as their facts tell them: what was decided then is told again, not decided anew.

A fact says what its counter took, by which limit, with which notices, and its place in the counter's own order; so the
rows follow from the facts alone, whatever the plans and the catalog have become since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from jobs.usage.booking import CORRECTION, notified
from jobs.usage.periods import Rule
from jobs.usage.plans import Limit
from jobs.usage.rows import Account, Counter, Reservation

_outcome: Final = msgspec.json.Decoder(dict[str, Any])
_FIELDS: Final = ("limit", "hard", "overageCap", "version")
Limits = Callable[[Counter, str], Limit]
"""A counter and the version of a limit -> that limit."""


class Held(msgspec.Struct):
    """A counter and its reservations, by their ids."""

    counter: Counter | None = None
    reservations: dict[str, Reservation] = {}

    def at(self, now: datetime) -> dict[str, Any]:
        """Every field under a name of its own, with what expires by time alone expired."""
        found: dict[str, Any] = {}
        if self.counter is not None:
            found = msgspec.structs.asdict(self.counter)
        for name, one in self.reservations.items():
            is_due = one.status == "open" and one.expires_at <= now
            fields = msgspec.structs.asdict(one) | ({"status": "expired"} if is_due else {})
            found |= {f"reservation {name}: {field}": value for field, value in fields.items()}
            if is_due and self.counter is not None:
                found["reserved"] -= one.quantity
        return found


def account(subject: Mapping[str, Any]) -> Account:
    """Of a row of `usage_subjects`; `rule` tells it the rest."""
    return Account(subject["subject"], subject["first_at"], metered=subject["metered"])


def rule(own: Account, row: Mapping[str, Any]) -> None:
    """One ruling, in the account's order."""
    outcome = _outcome.decode(row["outcome"])
    own.revision = row["number"]
    if row["kind"] == "plan.changed":
        own.plan, own.next_plan = outcome["plan"], outcome["nextPlan"]
        own.next_plan_at = _moment(outcome["nextPlanAt"])
    elif row["kind"] == "usage.account_set":
        own.rules = msgspec.convert(outcome["rules"], tuple[Rule, ...])
    else:
        own.overrides = {name: limit for name, limit in own.overrides.items() if name != row["action"]}
        if (limit := ruled_limit(outcome)) is not None:
            own.overrides[row["action"]] = limit


def ruled_limit(outcome: Mapping[str, Any]) -> Limit | None:
    """The limit that a `usage.limits_set` set; None when it took one away."""
    return None if outcome["removed"] else msgspec.convert({name: outcome[name] for name in _FIELDS}, Limit)


def count(held: Held, row: Mapping[str, Any], limits: Limits) -> None:
    """One fact of a counter, in the counter's order."""
    if (own := held.counter) is None:
        own = held.counter = Counter(row["subject"], row["action"], row["period_start"], row["period_end"])
    own.period_end = row["period_end"]
    own.used += row["booked"]
    own.records += 1
    own.judge(row["plan"], limits(own, row["limit_version"]))
    own.revision += bool(row["flags"] & CORRECTION)
    own.updated_at = max(own.updated_at, row["received_at"])
    if row["notices"]:
        own.notified = notified(own.notified, row["notices"], own.period_end is None)
    if row["kind"] == "usage.reserved":
        _reserve(held, own, row)
    elif row["kind"] == "usage.committed" and (found := held.reservations.get(row["reservation_id"])) is not None:
        found.status, found.committed = "committed", row["quantity"]


def _reserve(held: Held, own: Counter, row: Mapping[str, Any]) -> None:
    until = _moment(row["expires_at"]) or row["received_at"]
    held.reservations[row["id"]] = Reservation(
        *(own.subject, row["id"], own.action, row["quantity"], own.period_start, row["received_at"], until)
    )


def end(held: Held, released: set[tuple[str, str]], decided_at: datetime | None) -> None:
    """What follows from other facts of the subject: a decision, whatever it was of, ends what has expired by then."""
    for one in held.reservations.values():
        if (one.subject, one.id) in released:
            one.status = "released"
        elif one.status == "open" and decided_at is not None and one.expires_at <= decided_at:
            one.status = "expired"
    if held.counter is not None:
        held.counter.reserved = sum(one.quantity for one in held.reservations.values() if one.status == "open")


def close(told: Counter, kept: Counter | None, closing: timedelta) -> None:
    """A period is closed beside the facts, once it is over; a correction says that it was closed before."""
    if told.period_end is None:
        return
    if kept is not None and kept.closed_at is not None and kept.closed_at >= told.period_end:
        told.closed_at = kept.closed_at
    elif told.revision:
        told.closed_at = told.period_end + closing


def _moment(text: str | None) -> datetime | None:
    return None if text is None else msgspec.convert(text, datetime)
