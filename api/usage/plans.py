"""Plans of an operator: every version, and a new one with the time from which it holds."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final

import asyncpg
import msgspec
from aiohttp import web
from msgspec import Meta

from api import answer, errors, form, who
from api.errors import Problem
from api.state import State
from api.usage import in_force, meters
from db import log
from jobs.usage import plans
from jobs.usage.kinds import Moment
from jobs.usage.plan_catalog import Feature, MeterName, Most
from jobs.usage.plans import QUERIES, Limit, Plan, Plans, Version
from jobs.usage.quota import rfc3339

logger = log.get("plans")
MOST_PLANS: Final = 100
_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}", re.ASCII)


class PlanLimit(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A limit in full; over a soft one (`hard` false) goes what `overageCap` allows, everything without a cap."""

    limit: Most | None
    hard: bool = True
    overage_cap: Most | None = None


class PlanVersion(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Body of PUT /v1/admin/plans/{plan}, all of the plan; sizes in bytes. Null, or not named: unlimited; 0: off."""

    rank: Annotated[int, Meta(ge=0, le=1000)]
    limits: dict[MeterName, Most | PlanLimit | None] = {}
    max_file_size: Most | None = None
    storage: Most | None = None
    team_size: Most | None = None
    features: Annotated[list[Feature], Meta(max_length=100)] = []
    effective_from: Moment | None = None


_version: Final = msgspec.json.Decoder(PlanVersion)
_body: Final = msgspec.json.Decoder(Plan)


async def listed(request: web.Request) -> web.Response:
    """GET /v1/admin/plans: each as it is in force, and the versions that are to come."""
    state = await who.operator(request)
    now = state.clock.now()
    versions = await in_force.read(state.pool)
    held = Plans(versions, state.catalog)
    found = [
        _shown(held.at(name, now))
        | {"upcoming": [_shown(one) for one in versions if one.plan == name and one.effective_from > now]}
        for name in sorted(held.names(), key=lambda name: held.at(name, now).body.rank)
    ]
    return answer.fresh({"defaultPlan": held.default, "plans": found})


async def read(request: web.Request) -> web.Response:
    """GET /v1/admin/plans/{plan}: every version that there ever was."""
    state, name = await who.operator(request), _name(request)
    rows = [row for row in await state.pool.fetch(QUERIES["list_plans"]) if row["plan"] == name]
    if rows:
        made = [_shown(_stored(row)) | {"source": row["source"], "createdAt": row["created_at"]} for row in rows]
        return answer.fresh({"plan": name, "versions": made})
    held = Plans([], state.catalog)
    if name not in held:
        raise Problem("not_found", f"there is no plan {name}; there are {', '.join(held.names()[:20])}")
    return answer.fresh({"plan": name, "versions": [_shown(held.at(name, state.clock.now()))]})


async def put(request: web.Request) -> web.Response:
    """PUT /v1/admin/plans/{plan}: a new version, or the newest when it says the same."""
    state, name = await who.operator(request), _name(request)
    body = await form.read(request, _version)
    now = state.clock.now()
    if body.effective_from is not None and not (now <= body.effective_from and body.effective_from.year < 3000):
        raise _wrong("effectiveFrom", "a version holds from now on, or from later: what was judged stays judged")
    plan = _plan(body, state)
    async with state.pool.acquire() as conn, conn.transaction():
        made = await _put(conn, state, name, plan, body.effective_from or now)
    await in_force.publish(state.pool, state.redis)
    state.plans = Plans(await in_force.read(state.pool), state.catalog)
    logger.warning("a plan was changed", plan=name, version=made.version, effective_from=made.effective_from)
    return answer.fresh(_shown(made))


async def _put(conn: asyncpg.Connection, state: State, name: str, plan: Plan, begins: datetime) -> Version:
    """What the catalog has is stored first: a first version holds since ever, whatever `begins` says."""
    await conn.execute(QUERIES["lock_plans"])
    held = await plans.ensure(conn, state.catalog, state.clock.now())
    if name not in held and len(held.names()) >= MOST_PLANS:
        raise _wrong("plan", f"there are {MOST_PLANS} plans already")
    for other in held.names():
        if other != name and held.at(other, begins).body.rank == plan.rank:
            raise _wrong("rank", f"{other} has the rank {plan.rank}, too")
    return await plans.put(conn, name, plan, effective_from=begins)


def _plan(body: PlanVersion, state: State) -> Plan:
    known = {meter.name: meter for meter in state.catalog.meters}
    for action, limit in body.limits.items():
        path = f"limits.{action}"
        if action not in known:
            raise meters.unknown(state, action, f"$.{path}")
        if (own := known[action].limited_by) is not None:
            raise _wrong(path, f"{action} is limited by the plan's own `{own}`")
        if isinstance(limit, PlanLimit) and limit.overage_cap is not None and (limit.hard or limit.limit is None):
            raise _wrong(f"{path}.overageCap", "only a soft limit has an overage: say hard: false")
    limits = {action: _limit(limit) for action, limit in body.limits.items()}
    sizes = (body.max_file_size, body.storage, body.team_size)
    return plans.settled(Plan(body.rank, limits, *sizes, tuple(body.features)), state.catalog.meters)


def _limit(given: int | PlanLimit | None) -> Limit:
    return Limit(given.limit, given.hard, given.overage_cap) if isinstance(given, PlanLimit) else Limit(given)


def _stored(row: asyncpg.Record) -> Version:
    return Version(row["plan"], row["version"], row["effective_from"], _body.decode(row["body"]))


def _shown(one: Version) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(one.body)
    return {"plan": one.plan, "version": one.version, "effectiveFrom": rfc3339(one.effective_from), **body}


def _name(request: web.Request) -> str:
    found = request.match_info["plan"]
    if _NAME.fullmatch(found) is None:
        said = "a plan's name is of A to Z, 0 to 9 and _, begins with a letter, and has 64 characters at most"
        raise errors.parameter("plan", said)
    return found


def _wrong(path: str, message: str) -> Problem:
    return Problem("invalid_body", message, details={"path": f"$.{path}"})


ROUTES: Final = (
    web.get("/v1/admin/plans", listed),
    web.get("/v1/admin/plans/{plan}", read),
    web.put("/v1/admin/plans/{plan}", put),
)
