"""What a counter takes, and the notices of thresholds that it reaches."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple

from jobs.action import Action
from jobs.family import Effect
from jobs.usage import quota
from jobs.usage.quota import rfc3339
from jobs.usage.rows import Account, Counter
from jobs.usage.states import States

CORRECTION: Final = 8
"""Flag of a fact: its period was closed already."""
THRESHOLD: Final = "usage.threshold_reached"


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
