"""Decisions: consume, reserve, commit, release. An enforced call never lets used + reserved pass a limit."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from jobs.action import Action
from jobs.family import Outcome, Row
from jobs.usage import quota, refusal
from jobs.usage.booking import NOTHING_BOOKED, Booked, book
from jobs.usage.kinds import Committed, Consumed, Released, Reserved
from jobs.usage.quota import Standing, rfc3339
from jobs.usage.records import row, text
from jobs.usage.rows import Account, Counter, Reservation
from jobs.usage.states import States


def _standing(states: States, account: Account, counter: Counter, now: datetime) -> Standing:
    plan, limit = account.limit(counter.action, now, states.plans)
    return Standing(counter.action, plan, limit, counter.used, counter.reserved, counter.period_end)


def _answer(states: States, counter: Counter, **more: Any) -> Outcome:
    """What a counter shows by the limit that it was judged by."""
    held = (counter.action, counter.plan, counter.limit, counter.used, counter.reserved, counter.period_end)
    return quota.answer(Standing(*held), states.usage, allowed=True) | more


def _decided(states: States, account: Account, a: Action, p: Consumed | Reserved) -> tuple[Counter, Outcome]:
    """The counter of now, and what the limits say."""
    refusal.meter(states, p.action)
    now = a.received_at
    states.expire(a.subject, now)
    counter = states.find(account, p.action, now)
    standing = _standing(states, account, counter, now)
    return counter, quota.decide(standing, states.plans, states.usage, now, p.quantity, p.file_size)


def _denied(states: States, a: Action, p: Consumed | Reserved, outcome: Outcome) -> Row:
    states.outcomes[id(a)] = outcome
    return _decision_row(a, p, None, NOTHING_BOOKED, outcome)


def _decision_row(a: Action, p: Consumed | Reserved, counter: Counter | None, booked: Booked, outcome: Outcome) -> Row:
    return row(
        *(a, p.quantity, counter, booked),
        at=a.received_at,
        action=p.action,
        resource=p.resource_id,
        reservation=outcome.get("reservationId"),
        metadata=text(p.metadata),
        outcome=outcome,
    )


def consumed(states: States, account: Account, a: Action, p: Consumed) -> Row:
    """Check and count in one."""
    counter, outcome = _decided(states, account, a, p)
    if "error" in outcome:
        return _denied(states, a, p, outcome)
    booked = book(states, account, counter, p.quantity, a)
    outcome = _answer(states, counter, quantity=p.quantity)
    states.outcomes[id(a)] = outcome
    return _decision_row(a, p, counter, booked, outcome)


def reserved(states: States, account: Account, a: Action, p: Reserved) -> Row:
    """Hold, until it is committed, released or expired."""
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
    return row(a, at=a.received_at, reservation=p.reservation_id, outcome=outcome)


def committed(states: States, account: Account, a: Action, p: Committed) -> Row:
    """Count what was held, or a part; the period is that of the reservation."""
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
    return row(a, quantity, counter, booked, at=a.received_at, reservation=found.id, outcome=outcome)


def released(states: States, account: Account, a: Action, p: Released) -> Row:
    """Hold it no more."""
    found = _open(states, a, p)
    if not isinstance(found, Reservation):
        return _unchanged(states, a, p, found)
    counter = states.close(found, "released")
    outcome = _answer(states, counter, released=found.quantity, reservationId=found.id)
    del outcome["allowed"]
    states.outcomes[id(a)] = outcome
    return row(a, at=a.received_at, action=found.action, reservation=found.id, outcome=outcome)
