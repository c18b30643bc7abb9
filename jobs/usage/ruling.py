"""What is ruled of a subject's account: its plan, limits of its own, its zone and billing."""

from __future__ import annotations

from datetime import UTC

import msgspec
from msgspec import UNSET

from jobs.action import Action
from jobs.family import Outcome, Row
from jobs.usage import periods, refusal
from jobs.usage.kinds import AccountSet, LimitsSet, PlanChanged
from jobs.usage.plans import Limit
from jobs.usage.quota import rfc3339
from jobs.usage.records import row
from jobs.usage.refusal import Refused
from jobs.usage.rows import Account
from jobs.usage.states import States


def _account_row(states: States, account: Account, a: Action, outcome: Outcome, action: str | None = None) -> Row:
    states.changed_accounts[a.subject] = account
    states.outcomes[id(a)] = outcome
    number, data = account.revision, a.data.decode()
    return row(a, at=a.received_at, action=action, number=number, metadata=data, outcome=outcome)


def plan_changed(states: States, account: Account, a: Action, p: PlanChanged) -> Row:
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


def limits_set(states: States, account: Account, a: Action, p: LimitsSet) -> Row:
    """A limit that says the same keeps its version, so that no notice comes again."""
    refusal.meter(states, p.action)
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


def account_set(states: States, account: Account, a: Action, p: AccountSet) -> Row:
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
