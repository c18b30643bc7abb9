"""The rules of usage: each action against the states of its subject, in log order; time is the action's arrival.

Decisions (consume, reserve, commit) are exact, because one writer takes them one after the other: an enforced call
never lets used + reserved pass a limit. Tracking never fails, and may pass it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET

from jobs.action import Action
from jobs.family import Effect, Outcome, Row
from jobs.usage import periods, quota
from jobs.usage.kinds import (
    AccountSet,
    Adjusted,
    Committed,
    Consumed,
    LimitsSet,
    PlanChanged,
    Recorded,
    Released,
    Reserved,
)
from jobs.usage.plans import Limit
from jobs.usage.quota import Standing, rfc3339
from jobs.usage.states import Account, Counter, Reservation, States

CORRECTION: Final = 8
"""Flag of a fact: its period was closed already."""
THRESHOLD: Final = "usage.threshold_reached"

COLUMNS: Final = (
    *("subject", "id", "kind", "user_id", "org_id", "action", "quantity", "booked", "period_start", "period_end"),
    *("number", "plan", "limit_version", "notices", "resource_id", "reservation_id", "metadata", "outcome"),
    *("at", "received_at", "flags"),
)
_encode: Final = msgspec.json.Encoder().encode
_ABSENT: Final = (b"", b"null")


class Refused(Exception):
    """What cannot be taken now, and may be later: no fact, a dead letter."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Booked(NamedTuple):
    """What a counter took: how much, with which notices, and whether its period was closed."""

    quantity: int
    notices: list[str] | None
    correction: int


NOTHING_BOOKED: Final = Booked(0, None, 0)


def book(states: States, account: Account, counter: Counter, quantity: int, action: Action) -> Booked:
    """Count. Never below 0; the first to reach thresholds says so, of all that it reaches at once."""
    now, end, correction = action.received_at, counter.period_end, 0
    if end is None or now < end or not counter.limit_version:
        counter.judge(*account.limit(counter.action, now, states.plans))
    if end is not None and now >= end + states.closing:
        correction = CORRECTION
        counter.revision += 1
        counter.closed_at = counter.closed_at or end + states.closing
    booked = max(quantity, -counter.used)
    counter.used += booked
    counter.records += 1
    counter.updated_at = max(counter.updated_at, now)
    states.keep(account, counter)
    notices = None
    if booked > 0 and counter.limit_value is not None:
        notices = _notices(states, account, counter, action)
    return Booked(booked, notices, correction)


def _notices(states: States, account: Account, counter: Counter, action: Action) -> list[str] | None:
    """The thresholds that nobody was told of in this period by this limit."""
    thresholds = quota.reached(counter.used, counter.limit_value, states.usage.thresholds)
    if not thresholds:
        return None
    span = _notice_span(states, account, counter, action.received_at)
    fresh = [one for one in thresholds if _notice(one, counter, span) not in counter.notified]
    if not fresh:
        return None
    notices = [_notice(one, counter, span) for one in fresh]
    counter.notified = notified(counter.notified, notices, counter.period_end is None)
    states.emitted.effects.append(_effect(counter, fresh, span, action))
    return notices


def _notice_span(states: States, account: Account, counter: Counter, now: datetime) -> tuple[datetime, datetime]:
    """Of a gauge, which has no periods of its own, the account's: it is told of once in each."""
    if counter.period_end is not None:
        return counter.period_start, counter.period_end
    return states.span(account, now)


def _notice(threshold: int, counter: Counter, span: tuple[datetime, datetime]) -> str:
    text = f"{threshold}/{counter.limit_version}"
    return text if counter.period_end is not None else f"{text}/{span[0]:%Y-%m-%d}"


def notified(held: list[str], notices: list[str], is_gauge: bool) -> list[str]:
    """What a counter remembers; a gauge only those of the last period that had any."""
    if is_gauge:
        end = notices[-1][-11:]
        held = [one for one in held if one.endswith(end)]
    return [*held, *notices]


def _effect(counter: Counter, thresholds: list[int], span: tuple[datetime, datetime], action: Action) -> Effect:
    start, end = span
    whose, _, name = counter.subject.partition(":")
    data: dict[str, Any] = {
        "subject": counter.subject,
        "userId": name if whose == "user" else None,
        "orgId": name if whose == "org" else action.org_id,
        "action": counter.action,
        "thresholds": thresholds,
        "threshold": thresholds[-1],
        "used": counter.used,
        "limit": counter.limit_value,
        "percentage": quota.percentage(counter.used, counter.limit_value),
        "periodStart": rfc3339(start),
        "periodEnd": rfc3339(end),
        "plan": counter.plan,
    }
    told = ",".join(map(str, thresholds))
    key = f"threshold/{counter.action}/{start:%Y-%m-%dT%H:%M:%S}/{counter.limit_version}/{told}"
    return Effect(THRESHOLD, key, counter.subject, action.received_at, data, counter.subject)


def _standing(states: States, account: Account, counter: Counter, now: datetime) -> Standing:
    plan, limit = account.limit(counter.action, now, states.plans)
    return Standing(counter.action, plan, limit, counter.used, counter.reserved, counter.period_end)


def _answer(states: States, counter: Counter, **more: Any) -> Outcome:
    """What a counter shows by the limit that it was judged by."""
    held = (counter.action, counter.plan, counter.limit, counter.used, counter.reserved, counter.period_end)
    return quota.answer(Standing(*held), states.usage, allowed=True) | more


def _row(
    a: Action,
    quantity: int | None = None,
    counter: Counter | None = None,
    booked: Booked = NOTHING_BOOKED,
    *,
    at: datetime | None = None,
    action: str | None = None,
    number: int | None = None,
    resource: str | None = None,
    reservation: str | None = None,
    metadata: str | None = None,
    outcome: Outcome | None = None,
) -> Row:
    """The fact. Of a decision `at` is the arrival, since the client's own clock had no say in it."""
    told = None if outcome is None else _encode(outcome).decode()
    if counter is None:
        where: Row = (action, quantity, 0, None, None, number, None, None, None)
    else:
        where = (
            *(counter.action, quantity, booked.quantity, counter.period_start, counter.period_end, counter.records),
            *(counter.plan, counter.limit_version, booked.notices),
        )
    return (
        *(a.subject, a.id, a.kind, a.user_id, a.org_id, *where, resource, reservation, metadata, told),
        *(a.at if at is None else at, a.received_at, a.flags | booked.correction),
    )


def text(raw: msgspec.Raw) -> str | None:
    """Free JSON as jsonb takes it."""
    body = bytes(raw)
    return None if body in _ABSENT else body.decode()


def _meter(states: States, action: str) -> None:
    if action not in states.gauges:
        raise Refused("unknown_meter", f"the catalog has no meter {action!r}")


def recorded_outcome(action: str | None, booked: int, start: datetime | None, end: datetime | None) -> Outcome:
    """Of what was tracked: made from the fact's own columns, so that no fact has to carry it."""
    return {
        "action": action,
        "quantity": booked,
        "periodStart": None if start is None else rfc3339(start),
        "periodEnd": None if end is None else rfc3339(end),
    }


def _recorded(states: States, account: Account, a: Action, p: Recorded) -> Row:
    _meter(states, p.action)
    counter = states.find(account, p.action, a.at)
    booked = book(states, account, counter, p.quantity, a)
    if a.reply is not None:
        told = recorded_outcome(p.action, booked.quantity, counter.period_start, counter.period_end)
        states.outcomes[id(a)] = told
    return _row(a, p.quantity, counter, booked, resource=p.resource_id, metadata=text(p.metadata))


def _adjusted(states: States, account: Account, a: Action, p: Adjusted) -> Row:
    _meter(states, p.action)
    counter = states.find(account, p.action, a.at)
    booked = book(states, account, counter, p.quantity, a)
    outcome = recorded_outcome(p.action, booked.quantity, counter.period_start, counter.period_end)
    outcome |= {"used": counter.used, "revision": counter.revision}
    states.outcomes[id(a)] = outcome
    metadata = _encode({"reason": p.reason}).decode()
    return _row(a, p.quantity, counter, booked, metadata=metadata, outcome=outcome)


def _decided(states: States, account: Account, a: Action, p: Consumed | Reserved) -> tuple[Counter, Outcome]:
    """The counter of now, and what the limits say."""
    _meter(states, p.action)
    now = a.received_at
    states.expire(a.subject, now)
    counter = states.find(account, p.action, now)
    standing = _standing(states, account, counter, now)
    return counter, quota.decide(standing, states.plans, states.usage, now, p.quantity, p.file_size)


def _denied(states: States, a: Action, p: Consumed | Reserved, outcome: Outcome) -> Row:
    states.outcomes[id(a)] = outcome
    return _decision_row(a, p, None, NOTHING_BOOKED, outcome)


def _decision_row(a: Action, p: Consumed | Reserved, counter: Counter | None, booked: Booked, outcome: Outcome) -> Row:
    return _row(
        *(a, p.quantity, counter, booked),
        at=a.received_at,
        action=p.action,
        resource=p.resource_id,
        reservation=outcome.get("reservationId"),
        metadata=text(p.metadata),
        outcome=outcome,
    )


def _consumed(states: States, account: Account, a: Action, p: Consumed) -> Row:
    counter, outcome = _decided(states, account, a, p)
    if "error" in outcome:
        return _denied(states, a, p, outcome)
    booked = book(states, account, counter, p.quantity, a)
    outcome = _answer(states, counter, quantity=p.quantity)
    states.outcomes[id(a)] = outcome
    return _decision_row(a, p, counter, booked, outcome)


def _reserved(states: States, account: Account, a: Action, p: Reserved) -> Row:
    counter, outcome = _decided(states, account, a, p)
    if "error" in outcome:
        return _denied(states, a, p, outcome)
    now = a.received_at
    counter.judge(*account.limit(p.action, now, states.plans))
    counter.reserved += p.quantity
    counter.records += 1
    counter.updated_at = max(counter.updated_at, now)
    states.keep(account, counter)
    held = Reservation(a.subject, a.id, p.action, p.quantity, counter.period_start, now, now + timedelta(seconds=p.ttl))
    states.add(held)
    states.changed_reservations[a.subject, a.id] = held
    more = {"quantity": p.quantity, "reservationId": a.id, "expiresAt": rfc3339(held.expires_at)}
    outcome = _answer(states, counter, **more)
    states.outcomes[id(a)] = outcome
    return _decision_row(a, p, counter, NOTHING_BOOKED, outcome)


def _open(states: States, a: Action, p: Committed | Released) -> Reservation | Outcome:
    """The reservation, if it is open; else why it is not."""
    states.expire(a.subject, a.received_at)
    found = states.reservations.get((a.subject, p.reservation_id))
    if found is None:
        return {"error": "unknown_reservation", "message": f"there is no reservation {p.reservation_id!r}"}
    if found.status == "open":
        return found
    said = f"the reservation was {found.status} before" if found.status != "expired" else "the reservation has expired"
    return {"error": f"reservation_{found.status}", "message": said}


def _unchanged(states: States, a: Action, p: Committed | Released, outcome: Outcome) -> Row:
    states.outcomes[id(a)] = outcome
    return _row(a, at=a.received_at, reservation=p.reservation_id, outcome=outcome)


def _committed(states: States, account: Account, a: Action, p: Committed) -> Row:
    found = _open(states, a, p)
    if not isinstance(found, Reservation):
        return _unchanged(states, a, p, found)
    quantity = found.quantity if p.quantity is None else p.quantity
    if quantity > found.quantity:
        said = f"{quantity} are more than the {found.quantity} that were reserved"
        return _unchanged(states, a, p, {"error": "commit_exceeds_reservation", "message": said})
    counter = states.close(found, "committed")
    found.committed = quantity
    booked = book(states, account, counter, quantity, a)
    more = {"quantity": quantity, "released": found.quantity - quantity, "reservationId": found.id}
    outcome = _answer(states, counter, **more)
    states.outcomes[id(a)] = outcome
    return _row(a, quantity, counter, booked, at=a.received_at, reservation=found.id, outcome=outcome)


def _released(states: States, account: Account, a: Action, p: Released) -> Row:
    found = _open(states, a, p)
    if not isinstance(found, Reservation):
        return _unchanged(states, a, p, found)
    counter = states.close(found, "released")
    outcome = _answer(states, counter, released=found.quantity, reservationId=found.id)
    del outcome["allowed"]
    states.outcomes[id(a)] = outcome
    return _row(a, at=a.received_at, action=found.action, reservation=found.id, outcome=outcome)


def _account_row(states: States, account: Account, a: Action, outcome: Outcome, action: str | None = None) -> Row:
    states.changed_accounts[a.subject] = account
    states.outcomes[id(a)] = outcome
    number, data = account.revision, a.data.decode()
    return _row(a, at=a.received_at, action=action, number=number, metadata=data, outcome=outcome)


def _plan_changed(states: States, account: Account, a: Action, p: PlanChanged) -> Row:
    """Usage and the boundaries of the period stay; what was to come is replaced."""
    now, held = a.received_at, states.plans
    if p.plan not in held:
        raise Refused("unknown_plan", f"there is no plan {p.plan!r}; there are {', '.join(held.names()[:20])}")
    current = account.plan_at(now, held.default)
    begins = now if p.effective_at is None else p.effective_at.astimezone(UTC)
    if p.effective_at is None and held.at(p.plan, now).body.rank < held.at(current, now).body.rank:
        begins = states.span(account, now)[1]
    account.revision += 1
    account.plan = current
    account.next_plan, account.next_plan_at = (p.plan, begins) if begins > now else (None, None)
    if begins <= now:
        account.plan = p.plan
    outcome = {
        "plan": account.plan,
        "previousPlan": current,
        "nextPlan": account.next_plan,
        "nextPlanAt": None if account.next_plan_at is None else rfc3339(account.next_plan_at),
    }
    return _account_row(states, account, a, outcome)


def _limits_set(states: States, account: Account, a: Action, p: LimitsSet) -> Row:
    _meter(states, p.action)
    account.revision += 1
    others = {name: limit for name, limit in account.overrides.items() if name != p.action}
    outcome: Outcome = {"action": p.action, "limit": None, "removed": p.removed}
    if p.limit is not UNSET:
        own = Limit(p.limit, p.hard, p.overage_cap, f"set@{account.revision}")
        held = account.overrides.get(p.action)
        others[p.action] = held if held is not None and own.same(held) else own
        outcome |= msgspec.to_builtins(others[p.action])
    account.overrides = others
    return _account_row(states, account, a, outcome, p.action)


def _account_set(states: States, account: Account, a: Action, p: AccountSet) -> Row:
    """Zone and billing hold from the next period on, unless nothing was ever counted."""
    now, last = a.received_at, account.rules[-1]
    zone = last.zone if p.zone is None else p.zone
    if not periods.is_zone(zone):
        raise Refused("unknown_zone", f"no time zone {zone!r} on this host")
    account.revision += 1
    day = last.day
    if p.billing == "calendar":
        day = 1
    elif p.anchor_at is not None or p.billing == "anniversary":
        day = periods.day_of(zone, p.anchor_at or now)
    account.rules = periods.changed(account.rules, now, zone, day, at_once=not account.metered)
    states.forget_span(a.subject)
    rule = account.rules[-1]
    start, end = states.span(account, now)
    outcome = {
        "zone": rule.zone,
        "billing": rule.billing,
        "day": rule.day,
        "effectiveAt": rfc3339(now if rule.begins is None else max(now, rule.begins)),
        "periodStart": rfc3339(start),
        "periodEnd": rfc3339(end),
        "rules": msgspec.to_builtins(account.rules),
    }
    return _account_row(states, account, a, outcome)


FOLDS: Final[Mapping[str, Callable[[States, Account, Action, Any], Row]]] = {
    "usage.recorded": _recorded,
    "usage.consumed": _consumed,
    "usage.reserved": _reserved,
    "usage.committed": _committed,
    "usage.released": _released,
    "usage.adjusted": _adjusted,
    "plan.changed": _plan_changed,
    "usage.limits_set": _limits_set,
    "usage.account_set": _account_set,
}
