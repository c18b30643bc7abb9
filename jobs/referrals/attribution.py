"""Who referred whom, and what both get for it: the states of organisations, and the pure rules that change them.

A claim is decided in the order of the log, and its decision kept with its fact. All else is a minimum, a maximum, or
"both are there": attribution and qualification may arrive in either order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal

import msgspec

from jobs.action import OURS, Action
from jobs.catalog import Rewards
from jobs.family import Effect, Emitted, Live, Outcome
from jobs.referrals.kinds import REWARDED, CodeRequested, Qualified, Rewarded, SignedUp

Side = Literal["referrer", "referred"]
RewardKey = tuple[str, str, Side]


class Organisation(msgspec.Struct):
    """One row of `referral_organizations`; `received_at` of its first action."""

    org_id: str
    received_at: datetime
    code: str | None = None
    qualified_at: datetime | None = None


class Referral(msgspec.Struct):
    """One row of `referrals`: the one of a referred organisation."""

    referrer_org_id: str
    referred_org_id: str
    code: str
    created_at: datetime
    completed_at: datetime | None = None
    rewarded_at: datetime | None = None

    @property
    def status(self) -> Literal["PENDING", "COMPLETED", "REWARDED"]:
        """COMPLETED once the organisation is qualified, REWARDED once both sides have their ledger rows."""
        if self.rewarded_at is not None:
            return "REWARDED"
        return "PENDING" if self.completed_at is None else "COMPLETED"


class Reward(msgspec.Struct):
    """One row of `referral_rewards`: what the catalog granted at the time."""

    org_id: str
    referred_org_id: str
    side: Side
    amount: int
    unit: str
    created_at: datetime

    @property
    def key(self) -> RewardKey:
        """What there is one of."""
        return (self.org_id, self.referred_org_id, self.side)


class States:
    """What one batch touches; `referrals` by the referred organisation, with those that its rewards speak of."""

    def __init__(self, rewards: Rewards) -> None:
        self.granted = rewards
        self.organisations: dict[str, Organisation] = {}
        self.referrals: dict[str, Referral] = {}
        self.rewards: dict[RewardKey, Reward] = {}
        self.codes: dict[str, str] = {}
        """Code -> whose it is."""
        self.reserved: dict[str, str] = {}
        """Organisation -> the code that it gets at its first request."""
        self.referrers: dict[str, str] = {}
        """Referred -> referrer, all the way up from those who may become one in this batch."""
        self.changed: dict[str, Organisation] = {}
        self.changed_referrals: dict[str, Referral] = {}
        self.changed_rewards: dict[RewardKey, Reward] = {}
        self.outcomes: dict[int, Outcome] = {}
        """id() of an action of this batch -> what was decided."""
        self.emitted = Emitted()

    def organisation(self, action: Action) -> Organisation:
        """The organisation of an action; any action of it leaves a row, which says since when there are facts."""
        org_id = action.subject[4:]
        found = self.organisations.get(org_id)
        if found is None:
            found = self.organisations[org_id] = Organisation(org_id, action.received_at)
        found.received_at = min(found.received_at, action.received_at)
        self.changed[org_id] = found
        return found

    def stands_above(self, org_id: str, below: str) -> bool:
        """Whether `below` is `org_id`, was referred by it, or by one whom it referred, and so on."""
        # As many steps as there are referrals: were there a cycle in the table after all, this must come to an end.
        for _ in range(len(self.referrers)):
            if below == org_id:
                return True
            if below not in self.referrers:
                return False
            below = self.referrers[below]
        return below == org_id

    def refer(self, referral: Referral) -> None:
        """Keep a new or changed referral."""
        self.referrals[referral.referred_org_id] = self.changed_referrals[referral.referred_org_id] = referral
        self.referrers[referral.referred_org_id] = referral.referrer_org_id

    def give(self, org_id: str, referred: str, side: Side, at: datetime) -> dict[str, Any]:
        """Write a new row of the ledger; what the catalog grants."""
        amount = self.granted.referrer if side == "referrer" else self.granted.referred
        reward = Reward(org_id, referred, side, amount, self.granted.unit, at)
        self.rewards[reward.key] = self.changed_rewards[reward.key] = reward
        return {"amount": amount, "unit": reward.unit}

    def tell(self, to: str, referral: Referral, cause: Action, at: datetime) -> None:
        """Send `referral.rewarded` to the other organisation, with an id that every replay gives again."""
        data = msgspec.json.encode(Rewarded(referral.referrer_org_id, referral.referred_org_id))
        action_id = f"{OURS}rewarded:{referral.referred_org_id}"
        self.emitted.follow_ups.append(
            Action(action_id, REWARDED, f"org:{to}", at, cause.received_at, 0, data, org_id=to)
        )

    def announce(self, org_id: str, referral: Referral) -> None:
        """Show the referral as it is now to those of an organisation who listen."""
        body = shown(referral, is_referrer=org_id == referral.referrer_org_id)
        self.emitted.live.append(Live(f"org:{org_id}", "referral", partial(msgspec.json.encode, body)))


def shown(referral: Referral, *, is_referrer: bool) -> dict[str, Any]:
    """A referral as the API shows it to either side; who referred it is not told to the referred organisation."""
    times = {"createdAt": referral.created_at, "completedAt": referral.completed_at, "rewardedAt": referral.rewarded_at}
    whom = {"referredOrgId": referral.referred_org_id} if is_referrer else {}
    return {**whom, "code": referral.code, "status": referral.status, **times}


def normal(code: str) -> str:
    """A code as it is kept: people type lower case and spaces around. What is not ASCII stays what it is: no code."""
    code = code.strip()
    return code.upper() if code.isascii() else code


def requested(_: CodeRequested, states: States, org: Organisation, __: Action) -> Outcome:
    """The first request gives the code; it never changes."""
    if org.code is None:
        org.code = states.reserved[org.org_id]
        states.codes[org.code] = org.org_id
    return {"code": org.code}


def signed_up(payload: SignedUp, states: States, org: Organisation, action: Action) -> Outcome:
    """First touch wins: an organisation has one referral for ever; the same code again is told of it."""
    code = normal(payload.code)
    referrer = states.codes.get(code)
    if referrer is None:
        return _no("unknown_code", "there is no such code: check how it is spelled")
    if referrer == org.org_id:
        return _no("own_code", "this is the organisation's own code: it is for others")
    referral = states.referrals.get(org.org_id)
    if referral is not None and referral.referrer_org_id != referrer:
        return _no("already_referred", "the organisation came by another code before: the first one counts")
    if referral is not None:
        return {"success": True, "isNew": False, "referral": _claimed(referral)}
    if states.stands_above(org.org_id, referrer):
        return _no("referral_cycle", "the organisation referred the owner of this code, or one who did")
    referral = Referral(referrer, org.org_id, code, action.at)
    states.refer(referral)
    reward = _complete(states, org, action)
    states.announce(org.org_id, referral)
    return {"success": True, "isNew": True, "referral": _claimed(referral), **reward}


def qualified(_: Qualified, states: States, org: Organisation, action: Action) -> Outcome:
    """The earliest time counts, whatever arrives first."""
    org.qualified_at = min(org.qualified_at or action.at, action.at)
    reward = _complete(states, org, action)
    if reward:
        states.announce(org.org_id, states.referrals[org.org_id])
    return {"success": True, "qualifiedAt": org.qualified_at, **reward}


def _complete(states: States, org: Organisation, action: Action) -> dict[str, Any]:
    """Attribution and qualification are both there: the referred side is rewarded, the referrer is told, once."""
    referral = states.referrals.get(org.org_id)
    if referral is None or org.qualified_at is None:
        return {}
    referral.completed_at = max(referral.created_at, org.qualified_at)
    states.refer(referral)
    if (org.org_id, org.org_id, "referred") in states.rewards:
        return {}
    states.tell(referral.referrer_org_id, referral, action, max(referral.completed_at, action.received_at))
    return {"reward": states.give(org.org_id, org.org_id, "referred", action.received_at)}


def rewarded(payload: Rewarded, states: States, org: Organisation, action: Action) -> Outcome:
    """Takes effect when it is true: at the referrer of a completed referral, then at the organisation that it referred.

    Whoever sends it, and however often, each ledger row and the effect come once.
    """
    referral = states.referrals.get(payload.referred_org_id)
    if referral is None or referral.referrer_org_id != payload.referrer_org_id or referral.completed_at is None:
        return _no("unknown_referral", "there is no such referral that is completed")
    if org.org_id == referral.referrer_org_id:
        return _at_referrer(states, referral, action)
    given = states.rewards.get((referral.referrer_org_id, referral.referred_org_id, "referrer"))
    if org.org_id != referral.referred_org_id or given is None:
        return _no("unknown_referral", "the referrer has not been rewarded, or this is another organisation's referral")
    return _at_referred(states, referral, given, action)


def _at_referrer(states: States, referral: Referral, action: Action) -> Outcome:
    key: RewardKey = (referral.referrer_org_id, referral.referred_org_id, "referrer")
    if key in states.rewards:
        return {"success": True, "isNew": False}
    reward = states.give(*key, action.received_at)
    states.tell(referral.referred_org_id, referral, action, action.at)
    states.announce(referral.referrer_org_id, referral)
    return {"success": True, "isNew": True, "reward": reward}


def _at_referred(states: States, referral: Referral, given: Reward, action: Action) -> Outcome:
    if referral.rewarded_at is not None:
        return {"success": True, "isNew": False}
    referral.rewarded_at = action.at
    states.refer(referral)
    states.announce(referral.referred_org_id, referral)
    own = states.rewards[referral.referred_org_id, referral.referred_org_id, "referred"]
    rewards = {one.side: {"amount": one.amount, "unit": one.unit} for one in (given, own)}
    data = {"referrerOrgId": referral.referrer_org_id, "referredOrgId": referral.referred_org_id, "rewards": rewards}
    data |= shown(referral, is_referrer=False)
    subject = f"org:{referral.referred_org_id}"
    states.emitted.effects.append(Effect(REWARDED, REWARDED, subject, action.at, data))
    return {"success": True, "isNew": True}


def _claimed(referral: Referral) -> dict[str, Any]:
    return {
        "referrerOrgId": referral.referrer_org_id,
        "code": referral.code,
        "status": referral.status,
        "createdAt": referral.created_at,
    }


def _no(code: str, message: str) -> Outcome:
    return {"error": code, "message": message}


FOLDS: Final[Mapping[str, Callable[[Any, States, Organisation, Action], Outcome]]] = {
    "referral.code_requested": requested,
    "referral.signed_up": signed_up,
    "referral.qualified": qualified,
    REWARDED: rewarded,
}
