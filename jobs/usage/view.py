"""What a subject sees of its usage: its read model as a batch leaves it, and pure functions that read it.

A reader adds its own time, the plans and the catalog. So a model written in March answers for April, when nothing was
used yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from jobs.catalog import Catalog
from jobs.usage import periods, quota
from jobs.usage.model import Held, Model
from jobs.usage.plans import Plans
from jobs.usage.quota import Standing, rfc3339
from jobs.usage.rows import QUERIES, Account, Counter, Reservation, account, counter
from jobs.usage.states import LISTED, States, listed_until


class Stale(Exception):
    """More reservations than the model lists have expired meanwhile: read it anew."""


_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(Model)
EMPTY: Final = Model()


def name(subject: str) -> str:
    """Of the read model."""
    return f"usage:{subject}"


def decode(body: bytes | None) -> Model:
    """A model as it is kept; None: nothing is known of the subject."""
    return EMPTY if body is None else _decoder.decode(body)


def written(states: States) -> Iterable[tuple[str, bytes]]:
    """The models of every subject that this batch changed."""
    return [(name(subject), _encode(model)) for subject, model in states.models.items()]


def changed(states: States) -> Mapping[str, Model]:
    """Subject -> its model, of those that this batch changed."""
    subjects = {key[0] for key in states.changed_counters} | states.changed_accounts.keys()
    own: dict[str, list[Counter]] = {subject: [] for subject in subjects}
    for one in states.counters.values():
        if one.subject in own:
            own[one.subject].append(one)
    expiring = _expiring(reservation for reservation in states.reservations.values() if reservation.subject in own)
    return {
        subject: _model(states.accounts[subject], counters, expiring, states.latest[subject], states.listed_until)
        for subject, counters in own.items()
    }


_Expiring = dict[tuple[str, str, datetime], list[tuple[datetime, int]]]


def _expiring(reservations: Iterable[Reservation]) -> _Expiring:
    found: _Expiring = {}
    for one in reservations:
        if one.status == "open":
            key = (one.subject, one.action, one.period_start)
            found.setdefault(key, []).append((one.expires_at, one.quantity))
    return found


def _model(
    own: Account,
    counters: Iterable[Counter],
    expiring: _Expiring,
    now: datetime,
    until: Mapping[str, datetime],
) -> Model:
    """Counters of periods that are over are left out: no later reader asks for them."""
    held = [
        Held(one.action, one.period_start, one.period_end, one.used, one.reserved, sorted(expiring.get(one.key, ())))
        for one in sorted(counters, key=lambda one: one.key)
        if one.period_end is None or one.period_end > now
    ]
    return Model(own.plan, own.next_plan, own.next_plan_at, own.overrides, own.rules, held, until.get(own.subject))


async def load(conn: asyncpg.Connection, subject: str, now: datetime) -> bytes | None:
    """The model from Postgres, as `api.reads.model` wants it; None when nothing is known of the subject."""
    row = await conn.fetchrow(QUERIES["load_usage_accounts"], [subject])
    if row is None:
        return None
    counters = [counter(one) for one in await conn.fetch(QUERIES["load_usage_counters"], [subject], [now])]
    rows = await conn.fetch(QUERIES["load_open_reservations"], [subject], [now], LISTED)
    held = [Reservation(*one) for one in rows]
    return _encode(_model(account(row), counters, _expiring(held), now, listed_until(held, {subject: now}, LISTED)))


def standing(model: Model, held: Plans, catalog: Catalog, action: str, now: datetime) -> Standing:
    """Where a subject stands with one meter, now. KeyError: the catalog has no such meter. Raises Stale."""
    kind = next((meter.kind for meter in catalog.meters if meter.name == action), None)
    if kind is None:
        raise KeyError(action)
    return _standing(model, held, action, now, None if kind == "gauge" else periods.period(model.rules, now))


def _standing(model: Model, held: Plans, action: str, now: datetime, span: periods.Period | None) -> Standing:
    plan, limit = model.account().limit(action, now, held)
    start, end = span or (periods.EPOCH, None)
    found = next((one for one in model.counters if one.action == action and one.start == start), None)
    if found is None:
        return Standing(action, plan, limit, 0, 0, end)
    return Standing(action, plan, limit, found.used, _reserved(found, model, now), end)


def _reserved(held: Held, model: Model, now: datetime) -> int:
    """What is still reserved: less what has expired since the model was written."""
    listed = sum(quantity for _, quantity in held.expiring)
    if model.listed_until is not None and now >= model.listed_until and held.reserved > listed:
        raise Stale
    return held.reserved - sum(quantity for when, quantity in held.expiring if when <= now)


def check(
    model: Model,
    held: Plans,
    catalog: Catalog,
    now: datetime,
    action: str,
    quantity: int = 1,
    file_size: int | None = None,
) -> dict[str, Any]:
    """What a decision would say now: its outcome, advisory. KeyError: no such meter. Raises Stale."""
    own = standing(model, held, catalog, action, now)
    return quota.decide(own, held, catalog.usage, now, quantity, file_size)


def view(model: Model, held: Plans, catalog: Catalog, now: datetime) -> dict[str, Any]:
    """The answer of `GET /v1/usage/current`: plan, period, features, limits, every meter. Raises Stale."""
    own = model.account()
    plan = own.plan_at(now, held.default)
    body = held.at(plan, now).body
    span = periods.period(model.rules, now)
    meters = {
        meter.name: _shown(_standing(model, held, meter.name, now, None if meter.kind == "gauge" else span), catalog)
        | ({"unit": meter.unit} if meter.unit else {})
        for meter in catalog.meters
    }
    ahead = model.next_plan_at is not None and model.next_plan_at > now
    return {
        "plan": plan,
        "nextPlan": model.next_plan if ahead else None,
        "nextPlanAt": rfc3339(model.next_plan_at) if ahead and model.next_plan_at is not None else None,
        "period": {"start": rfc3339(span[0]), "end": rfc3339(span[1])},
        "features": list(body.features),
        "meters": meters,
        "limits": {"maxFileSize": body.max_file_size, "storage": body.storage, "teamSize": body.team_size},
    }


def _shown(own: Standing, catalog: Catalog) -> dict[str, Any]:
    shown = quota.answer(own, catalog.usage)
    del shown["action"], shown["plan"]
    return shown
