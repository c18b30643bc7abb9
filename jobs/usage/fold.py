"""The rules of usage: each action against the states of its subject, in log order; time is the action's arrival.

Decisions (consume, reserve, commit) are exact, because one writer takes them one after the other: an enforced call
never lets used + reserved pass a limit. Tracking never fails, and may pass it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from jobs.action import Action
from jobs.family import Row
from jobs.usage import decisions, refusal, ruling
from jobs.usage.booking import book
from jobs.usage.kinds import Adjusted, Recorded
from jobs.usage.records import recorded_outcome, row, text
from jobs.usage.rows import Account
from jobs.usage.states import States

_encode: Final = msgspec.json.Encoder().encode


def _recorded(states: States, account: Account, a: Action, p: Recorded) -> Row:
    refusal.meter(states, p.action)
    counter = states.find(account, p.action, a.at)
    booked = book(states, account, counter, p.quantity, a)
    if a.reply is not None:
        told = recorded_outcome(p.action, booked.quantity, counter.period_start, counter.period_end)
        states.outcomes[id(a)] = told
    return row(a, p.quantity, counter, booked, resource=p.resource_id, metadata=text(p.metadata))


def _adjusted(states: States, account: Account, a: Action, p: Adjusted) -> Row:
    refusal.meter(states, p.action)
    counter = states.find(account, p.action, a.at)
    booked = book(states, account, counter, p.quantity, a)
    outcome = recorded_outcome(p.action, booked.quantity, counter.period_start, counter.period_end)
    outcome |= {"used": counter.used, "revision": counter.revision}
    states.outcomes[id(a)] = outcome
    metadata = _encode({"reason": p.reason}).decode()
    return row(a, p.quantity, counter, booked, metadata=metadata, outcome=outcome)


FOLDS: Final[Mapping[str, Callable[[States, Account, Action, Any], Row]]] = {
    "usage.recorded": _recorded,
    "usage.adjusted": _adjusted,
    "usage.consumed": decisions.consumed,
    "usage.reserved": decisions.reserved,
    "usage.committed": decisions.committed,
    "usage.released": decisions.released,
    "plan.changed": ruling.plan_changed,
    "usage.limits_set": ruling.limits_set,
    "usage.account_set": ruling.account_set,
}
