"""Usage for tests: a small catalog, actions of it, the family without a Postgres, and what must come of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
from hypothesis import strategies as st

from db.stream import START as NOWHERE
from jobs import catalog as catalogs
from jobs.action import Action
from jobs.family import Item
from jobs.usage import periods
from jobs.usage import states as usage_states
from jobs.usage.family import RECORDS, Usage
from jobs.usage.kinds import KINDS
from jobs.usage.plans import Plans
from jobs.usage.records import COLUMNS
from jobs.usage.rows import Account, Counter, CounterKey, Reservation
from jobs.usage.states import States
from tests.jobs.making import NOW

CATALOG = """
[[meters]]
name = "UP"
[[meters]]
name = "SOFT"
[[meters]]
name = "OFF"
[[meters]]
name = "OPEN"
[[meters]]
name = "DISK"
kind = "gauge"
unit = "bytes"
limitedBy = "storage"

[plans.FREE]
rank = 0
storage = 10
maxFileSize = 100
limits = {UP = 5, SOFT = {limit = 5, hard = false, overageCap = 2}, OFF = 0, OPEN = "unlimited"}
[plans.PRO]
rank = 1
storage = 20
maxFileSize = 1000
features = ["api_access"]
limits = {UP = 9, SOFT = {limit = 5, hard = false}, OFF = 3, OPEN = "unlimited"}
[plans.ALL]
rank = 2

[usage]
defaultPlan = "FREE"
thresholds = [80, 90, 100]
closeAfterHours = 24
upgrade = {url = "https://example.com/{plan}", message = "{action}: {limit} reached, take {plan}"}
"""
catalog = catalogs.parse(CATALOG)
plans = Plans([], catalog)
family = Usage()
DECODERS = {kind.name: kind.decoder for kind in KINDS}
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
BEGIN = NOW.replace(month=1, day=20, hour=12, minute=0, second=0)
TOPS: Mapping[str, Mapping[str, int | None]] = {
    "FREE": {"UP": 5, "SOFT": 7, "OFF": 0, "OPEN": None, "DISK": 10},
    "PRO": {"UP": 9, "SOFT": None, "OFF": 3, "OPEN": None, "DISK": 20},
    "ALL": dict.fromkeys(("UP", "SOFT", "OFF", "OPEN", "DISK")),
}
"""Plan -> meter -> what enforced use never passes."""
LIMITS: Mapping[str, Mapping[str, int | None]] = {
    "FREE": {**TOPS["FREE"], "SOFT": 5},
    "PRO": {**TOPS["PRO"], "SOFT": 5},
    "ALL": TOPS["ALL"],
}
T = TypeVar("T", bound=msgspec.Struct)


def act(
    action_id: str, kind: str, data: Mapping[str, Any] | None = None, *, got: datetime = BEGIN, **fields: Any
) -> Action:
    """An action of ada's, as the door makes it."""
    user = fields.pop("user", "ada")
    at = fields.pop("at", got)
    body = json.dumps({} if data is None else data).encode()
    return Action(action_id, kind, f"user:{user}", at, got, fields.pop("flags", 0), body, user, **fields)


def items(actions: Iterable[Action]) -> list[Item]:
    """Actions as a batch has them."""
    return [(NOWHERE, action, DECODERS[action.kind].decode(action.data)) for action in actions]


def copied(row: T) -> T:
    """As Postgres would give it back."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=type(row))


class Memory:
    """Postgres's part without Postgres: what was saved before is what the next batch loads, by the same rules."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.counters: dict[CounterKey, Counter] = {}
        self.reservations: dict[tuple[str, str], Reservation] = {}
        self.facts: list[dict[str, Any]] = []
        self.outcomes: dict[str, dict[str, Any]] = {}
        self.effects: list[Any] = []
        self.refused: list[tuple[str, str]] = []
        self.models: dict[str, bytes] = {}
        self.seen: set[tuple[str, str]] = set()

    def apply(self, actions: Iterable[Action]) -> None:
        """One batch: only ids not seen before."""
        new = [action for action in actions if (action.subject, action.id) not in self.seen]
        firsts: dict[tuple[str, str], Action] = {}
        for action in new:
            firsts.setdefault((action.subject, action.id), action)
        new = list(firsts.values())
        self.seen |= {(action.subject, action.id) for action in new}
        if not new:
            return
        states = self._load(items(new))
        rows = family.fold(states, items(new))[RECORDS]
        emitted = family.emitted(states)
        self.facts += [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        self.effects += emitted.effects
        self.refused += [(one.action.id, one.code) for one in emitted.refused]
        self.models |= dict(family.models(states))
        for action in new:
            if (outcome := states.outcomes.get(id(action))) is not None:
                self.outcomes[action.id] = outcome
        self.accounts |= {key: copied(row) for key, row in states.changed_accounts.items()}
        self.counters |= {key: copied(row) for key, row in states.changed_counters.items()}
        self.reservations |= {key: copied(row) for key, row in states.changed_reservations.items()}

    def sweep(self, now: datetime) -> None:
        """What the schedule does: end whatever has expired until then."""
        states = States(catalog, plans)
        states.counters = {key: copied(row) for key, row in self.counters.items()}
        states.take([copied(row) for row in self.reservations.values()])
        for subject in self.accounts:
            states.expire(subject, now)
        self.counters |= states.changed_counters
        self.reservations |= states.changed_reservations

    def _load(self, batch: Sequence[Item]) -> States:
        states = States(catalog, plans)
        since: dict[str, datetime] = {}
        for _, a, _ in batch:
            since[a.subject] = min(since.get(a.subject, a.at), a.at, a.received_at)
            states.latest[a.subject] = max(states.latest.get(a.subject, a.received_at), a.received_at)
        states.accounts = {key: copied(row) for key, row in self.accounts.items() if key in since}
        for key, row in self.counters.items():
            if key[0] in since and (row.period_end is None or row.period_end > since[key[0]]):
                states.counters[key] = copied(row)
        self._load_reservations(states, batch)
        return states

    def _load_reservations(self, states: States, batch: Sequence[Item]) -> None:
        named = usage_states.named_in(batch)
        found = [copied(row) for key, row in self.reservations.items() if key in named]
        for subject in usage_states.holding(states, batch):
            until = states.latest[subject]
            held = [one for one in self.reservations.values() if one.subject == subject and one.status == "open"]
            held.sort(key=lambda one: one.expires_at)
            due = [one for one in held if one.expires_at <= until]
            mine = [copied(one) for one in (*due, *[one for one in held if one.expires_at > until][:1])]
            states.listed_until |= usage_states.listed_until(mine, states.latest, 1)
            found += mine
        states.take(found)
        for one in found:
            key = one.subject, one.action, one.period_start
            if one.status == "open" and key not in states.counters:
                states.counters[key] = copied(self.counters[key])


def applied(batches: Iterable[Sequence[Action]]) -> Memory:
    """All of it, batch by batch."""
    memory = Memory()
    for batch in batches:
        memory.apply(batch)
    return memory


_meters = st.sampled_from(["UP", "UP", "UP", "SOFT", "OFF", "OPEN", "DISK"])
_small = st.integers(1, 4)
_held = st.integers(0, 24).map(lambda n: f"a{n}")


def _data(**fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(fields)


_kinds: st.SearchStrategy[tuple[str, dict[str, Any]]] = st.one_of(
    st.tuples(st.just("usage.consumed"), _data(action=_meters, quantity=_small)),
    st.tuples(st.just("usage.reserved"), _data(action=_meters, quantity=_small, ttl=st.sampled_from([1, 60, 86_400]))),
    st.tuples(st.just("usage.reserved"), _data(action=st.just("UP"), quantity=_small, ttl=st.just(3600))),
    st.tuples(st.just("usage.committed"), _data(reservationId=_held)),
    st.tuples(st.just("usage.committed"), _data(reservationId=_held, quantity=_small)),
    st.tuples(st.just("usage.released"), _data(reservationId=_held)),
    st.tuples(st.just("usage.recorded"), _data(action=_meters, quantity=_small)),
    st.tuples(st.just("usage.recorded"), _data(action=st.just("DISK"), quantity=st.integers(-6, -1))),
    st.tuples(
        st.just("usage.adjusted"), _data(action=_meters, quantity=st.sampled_from([-5, -1, 3]), reason=st.just("x"))
    ),
    st.tuples(st.just("plan.changed"), _data(plan=st.sampled_from(["FREE", "PRO", "ALL", "NONE"]))),
    st.tuples(st.just("usage.limits_set"), _data(action=_meters, limit=st.sampled_from([None, 0, 2, 6]))),
    st.tuples(st.just("usage.limits_set"), _data(action=_meters, removed=st.just(True))),
    st.tuples(st.just("usage.account_set"), _data(zone=st.sampled_from(["UTC", "Asia/Tokyo", "America/Lima"]))),
    st.tuples(
        st.just("usage.account_set"), _data(anchorAt=st.sampled_from(["2026-01-31T12:00:00Z", "2026-01-15T12:00:00Z"]))
    ),
)
_steps = st.sampled_from([0, 0, 0, 1, 30, 3600, 86_400, 20 * 86_400, -1])


@st.composite
def metering(draw: st.DrawFn, most: int = 25) -> list[Action]:
    """Distinct actions of one subject, their arrivals mostly one after the other, from small pools."""
    actions, got = [], BEGIN
    for number, (what, step, back) in enumerate(
        draw(st.lists(st.tuples(_kinds, _steps, st.sampled_from([0, 0, 0, 1, 40, 75])), max_size=most))
    ):
        got += step * SECOND
        actions.append(act(f"a{number}", *what, got=got, at=got - back * DAY))
    return actions


@st.composite
def holding(draw: st.DrawFn) -> list[Action]:
    """Reservations of one meter, most of them ended soon after, near the moment at which they expire."""
    rows = st.tuples(st.sampled_from(["reserved", "reserved", "committed", "released", "consumed"]), _small)
    actions, got = [], BEGIN
    for number, (kind, back) in enumerate(draw(st.lists(rows, max_size=15))):
        got += draw(st.sampled_from([0, 1, 29, 30])) * SECOND
        data: dict[str, Any] = {"reservationId": f"a{number - back}"}
        if kind in {"reserved", "consumed"}:
            data = {"action": "UP"} | ({"ttl": 30} if kind == "reserved" else {})
        actions.append(act(f"a{number}", f"usage.{kind}", data, got=got))
    return actions


@dataclass
class Hold:
    """A reservation, as the oracle has it."""

    action: str
    quantity: int
    period: datetime
    until: datetime
    ended: bool = False


@dataclass
class Oracle:
    """Usage written down again from the contract, one action at a time, everything summed anew at each look."""

    booked: list[tuple[str, datetime, int]] = field(default_factory=list)
    holds: dict[str, Hold] = field(default_factory=dict)
    plan: str = "FREE"
    following: tuple[str, datetime] | None = None
    own: dict[str, int | None] = field(default_factory=dict)
    rules: tuple[periods.Rule, ...] = periods.DEFAULT
    told: dict[tuple[str, datetime], set[tuple[str, int]]] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    changes: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    judged: dict[tuple[str, datetime], tuple[int | None, str]] = field(default_factory=dict)
    notices: int = 0

    def span(self, action: str, at: datetime) -> periods.Period:
        """Begin and end; a gauge has one for ever."""
        if action == "DISK":
            return periods.EPOCH, datetime.max.replace(tzinfo=at.tzinfo)
        return periods.period(self.rules, at)

    def used(self, action: str, period: datetime) -> int:
        """The sum of all that was booked."""
        return sum(q for name, start, q in self.booked if (name, start) == (action, period))

    def reserved(self, action: str, period: datetime) -> int:
        """The sum of all that is held."""
        return sum(
            one.quantity
            for one in self.holds.values()
            if (one.action, one.period, one.ended) == (action, period, False)
        )

    def plan_now(self, now: datetime) -> str:
        """A change that was to come has come."""
        if self.following and now >= self.following[1]:
            return self.following[0]
        return self.plan

    def top(self, action: str, now: datetime) -> int | None:
        """What enforced use never passes."""
        return self.own[action] if action in self.own else TOPS[self.plan_now(now)][action]

    def limit(self, action: str, now: datetime) -> tuple[int | None, str]:
        """(limit, version)."""
        if action in self.own:
            return self.own[action], self.versions[action]
        return LIMITS[plan := self.plan_now(now)][action], plan

    def book(self, a: Action, action: str, at: datetime, quantity: int) -> None:
        """Count; say which thresholds were reached for the first time."""
        start, end = self.span(action, at)
        key = action, start
        quantity = max(quantity, -self.used(action, start))
        self.booked.append((action, start, quantity))
        if a.received_at < end or key not in self.judged:
            self.judged[key] = self.limit(action, a.received_at)
        limit, version = self.judged[key]
        if quantity <= 0 or limit is None:
            return
        span = start if action != "DISK" else periods.period(self.rules, a.received_at)[0]
        told = self.told.setdefault((action, span), set())
        fresh = {(version, t) for t in (80, 90, 100) if self.used(action, start) * 100 >= t * limit} - told
        told |= fresh
        self.notices += bool(fresh)

    def apply(self, a: Action) -> None:
        """One action."""
        data, now = json.loads(a.data), a.received_at
        for one in self.holds.values():
            # What a decision has given away stays given away.
            if a.kind.removeprefix("usage.") in {"consumed", "reserved", "committed", "released"} and one.until <= now:
                one.ended = True
        getattr(self, a.kind.replace(".", "_"))(a, data, now)

    def _fits(self, a: Action, data: dict[str, Any], now: datetime) -> bool:
        start, _ = self.span(data["action"], now)
        top = self.top(data["action"], now)
        total = self.used(data["action"], start) + self.reserved(data["action"], start) + data["quantity"]
        self.verdicts[a.id] = "ok" if top is None or total <= top else "denied"
        return self.verdicts[a.id] == "ok"

    def usage_consumed(self, a: Action, data: dict[str, Any], now: datetime) -> None:
        if self._fits(a, data, now):
            self.book(a, data["action"], now, data["quantity"])

    def usage_reserved(self, a: Action, data: dict[str, Any], now: datetime) -> None:
        if self._fits(a, data, now):
            start, _ = self.span(data["action"], now)
            self.holds[a.id] = Hold(data["action"], data["quantity"], start, now + data["ttl"] * SECOND)
            self.judged[data["action"], start] = self.limit(data["action"], now)

    def usage_committed(self, a: Action, data: dict[str, Any], now: datetime) -> None:
        held = self.holds.get(data["reservationId"])
        if held is None or held.ended or data.get("quantity", 0) > held.quantity:
            self.verdicts[a.id] = "denied"
            return
        self.verdicts[a.id] = "ok"
        held.ended = True
        self.book(a, held.action, held.period, data.get("quantity", held.quantity))

    def usage_released(self, a: Action, data: dict[str, Any], now: datetime) -> None:
        held = self.holds.get(data["reservationId"])
        self.verdicts[a.id] = "denied" if held is None or held.ended else "ok"
        if held is not None:
            held.ended = True

    def usage_recorded(self, a: Action, data: dict[str, Any], now: datetime) -> None:
        self.book(a, data["action"], a.at, data["quantity"])

    usage_adjusted = usage_recorded

    def plan_changed(self, a: Action, data: dict[str, Any], now: datetime) -> None:
        if data["plan"] == "NONE":
            return
        order = ["FREE", "PRO", "ALL"]
        self.plan, self.following = self.plan_now(now), None
        if order.index(data["plan"]) < order.index(self.plan):
            self.following = data["plan"], periods.period(self.rules, now)[1]
        else:
            self.plan = data["plan"]
        self.changes += 1

    def usage_limits_set(self, a: Action, data: dict[str, Any], now: datetime) -> None:
        self.changes += 1
        if "removed" in data:
            self.own.pop(data["action"], None)
        elif self.own.get(data["action"], "none") != data["limit"]:
            self.own[data["action"]] = data["limit"]
            self.versions[data["action"]] = f"own {self.changes}"

    def usage_account_set(self, a: Action, data: dict[str, Any], now: datetime) -> None:
        self.changes += 1
        last = self.rules[-1]
        zone = data.get("zone", last.zone)
        day = int(data["anchorAt"][8:10]) if "anchorAt" in data else last.day
        counted = bool(self.booked or self.holds)
        self.rules = periods.changed(self.rules, now, zone, day, at_once=not counted)


def told(actions: Iterable[Action]) -> Oracle:
    """The oracle of these actions."""
    oracle = Oracle()
    for action in actions:
        oracle.apply(action)
    return oracle
