"""Plans: what each allows, in versions with a time from which they hold. A version never changes once it is written.

`python -m db seed` writes a new version of every plan that the file changes; an operator may put others beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Final, NamedTuple

import asyncpg
import msgspec
from msgspec import Meta

from db import sql
from jobs.catalog import Catalog
from jobs.usage.periods import EPOCH
from jobs.usage.plan_catalog import Feature, Meter, MeterName, Most, PlanSection, Quota, Unlimited

QUERIES: Final = sql.read("plans")


class Limit(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """Of one meter. `limit` None: unlimited, 0: off. `version` names it in facts, counters and notices; it is ours."""

    limit: Most | None
    hard: bool = True
    overage_cap: Most | None = None
    version: str = ""

    @property
    def top(self) -> int | None:
        """What enforced use never passes; None: nothing stops it."""
        if self.limit is None or self.hard:
            return self.limit
        return None if self.overage_cap is None else self.limit + self.overage_cap

    def same(self, other: Limit | None) -> bool:
        """Whether both allow the same."""
        return other is not None and (self.limit, self.hard, self.overage_cap) == (
            *(other.limit, other.hard, other.overage_cap),
        )


class Plan(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """One version of a plan, as `PUT /v1/admin/plans/{plan}` takes it; sizes in bytes, null: unlimited."""

    rank: Annotated[int, Meta(ge=0, le=1000)]
    limits: dict[MeterName, Limit] = {}
    max_file_size: Most | None = None
    storage: Most | None = None
    team_size: Most | None = None
    features: Annotated[tuple[Feature, ...], Meta(max_length=100)] = ()


class Version(NamedTuple):
    """A row of `plan_limits`."""

    plan: str
    version: int
    effective_from: datetime
    body: Plan


class Plans:
    """The versions that matter, from some time on. What the catalog has and nobody has stored holds since ever."""

    def __init__(self, versions: Iterable[Version], catalog: Catalog) -> None:
        self.default = catalog.usage.default_plan
        self._by_name: dict[str, list[Version]] = {}
        for one in sorted(versions, key=lambda one: (one.plan, one.effective_from, one.version)):
            self._by_name.setdefault(one.plan, []).append(one)
        for name, section in catalog.plans.items():
            if name not in self._by_name:
                self._by_name[name] = [Version(name, 1, EPOCH, numbered(name, 1, of_section(section, catalog.meters)))]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def names(self) -> list[str]:
        """All plans, by name."""
        return sorted(self._by_name)

    def at(self, name: str, when: datetime) -> Version:
        """The version in force; before its first, the first. KeyError for a plan that does not exist."""
        versions = self._by_name[name]
        for one in reversed(versions):
            if one.effective_from <= when:
                return one
        return versions[0]

    def limit(self, name: str, action: str, when: datetime) -> Limit:
        """Of one meter."""
        found = self.at(name, when).body.limits.get(action)
        return Limit(None, version=f"{name}@0") if found is None else found

    def upgrade(self, name: str, when: datetime, helps: Callable[[Plan], bool]) -> str | None:
        """The next plan above for which `helps` holds."""
        rank = self.at(name, when).body.rank
        above = [(body.rank, other) for other in self._by_name if (body := self.at(other, when).body).rank > rank]
        return next((other for _, other in sorted(above) if helps(self.at(other, when).body)), None)


def of_section(section: PlanSection, meters: Sequence[Meter]) -> Plan:
    """A plan of the catalog."""
    limits = {name: _limit(quota) for name, quota in section.limits.items()}
    size, storage, team = map(_number, (section.max_file_size, section.storage, section.team_size))
    return settled(Plan(section.rank, limits, size, storage, team, section.features), meters)


def settled(plan: Plan, meters: Sequence[Meter]) -> Plan:
    """The same with the limits of the meters that its own fields limit."""
    own = {"storage": plan.storage, "teamSize": plan.team_size}
    derived = {meter.name: Limit(own[meter.limited_by]) for meter in meters if meter.limited_by is not None}
    return msgspec.structs.replace(plan, limits=plan.limits | derived)


def numbered(name: str, version: int, plan: Plan, before: Plan | None = None) -> Plan:
    """The limits with their versions: an unchanged one keeps the version that it had, so that no notice comes again."""
    held: Mapping[str, Limit] = {} if before is None else before.limits
    limits = {
        meter: held[meter]
        if limit.same(held.get(meter))
        else msgspec.structs.replace(limit, version=f"{name}@{version}")
        for meter, limit in sorted(plan.limits.items())
    }
    return msgspec.structs.replace(plan, limits=limits)


def _limit(quota: int | Unlimited | Quota) -> Limit:
    if isinstance(quota, Quota):
        return Limit(_number(quota.limit), quota.hard, quota.overage_cap)
    return Limit(_number(quota))


def _number(given: int | Unlimited) -> int | None:
    return given if isinstance(given, int) else None


async def load(conn: asyncpg.Connection, catalog: Catalog, since: datetime) -> Plans:
    """The versions in force at `since` or later."""
    return Plans([_version(row) for row in await conn.fetch(QUERIES["load_plans"], since)], catalog)


async def ensure(conn: asyncpg.Connection, catalog: Catalog, since: datetime) -> Plans:
    """`load`; plans of the catalog that nobody has stored yet are stored: what is judged by can be looked up."""
    rows = await conn.fetch(QUERIES["load_plans"], since)
    found = Plans([_version(row) for row in rows], catalog)
    if missing := sorted(set(catalog.plans) - {row["plan"] for row in rows}):
        await _insert(conn, [found.at(name, EPOCH) for name in missing], "catalog")
    return found


async def seed(conn: asyncpg.Connection, catalog: Catalog, now: datetime) -> list[str]:
    """Write a version of every plan that the catalog changes, from now; one line for each. The caller commits."""
    await conn.execute(QUERIES["lock_plans"])
    held = {row["plan"]: _decode(row["body"]) for row in await conn.fetch(QUERIES["newest_plans_of_catalog"])}
    lines = []
    for name, section in sorted(catalog.plans.items()):
        wanted = of_section(section, catalog.meters)
        if name not in held or not _same(held[name], wanted):
            version = await put(conn, name, wanted, effective_from=now, source="catalog")
            lines.append(f"plan {name}: version {version.version}")
    return lines


async def put(
    conn: asyncpg.Connection, name: str, plan: Plan, *, effective_from: datetime, source: str = "admin"
) -> Version:
    """A new version, or the newest when it says the same. The first of a plan holds since ever. The caller commits.

    `plan` comes from `settled`; `effective_from` must not lie before now, else what was judged would be judged anew.
    """
    await conn.execute(QUERIES["lock_plans"])
    row = await conn.fetchrow(QUERIES["newest_plan"], name)
    newest = None if row is None else _version(row)
    if newest is not None and source != "catalog" and _same(newest.body, plan):
        return newest
    number = 1 if newest is None else newest.version + 1
    body = numbered(name, number, plan, None if newest is None else newest.body)
    made = Version(name, number, EPOCH if newest is None else effective_from, body)
    await _insert(conn, [made], source)
    return made


async def _insert(conn: asyncpg.Connection, versions: Sequence[Version], source: str) -> None:
    rows = [(*one[:3], msgspec.json.encode(one.body).decode(), source) for one in versions]
    await conn.execute(QUERIES["insert_plans"], *map(list, zip(*rows, strict=True)))


def _same(held: Plan, wanted: Plan) -> bool:
    return numbered("", 0, held) == numbered("", 0, wanted)


def _version(row: asyncpg.Record) -> Version:
    return Version(row["plan"], row["version"], row["effective_from"], _decode(row["body"]))


@lru_cache(maxsize=512)
def _decode(body: str) -> Plan:
    return msgspec.json.decode(body, type=Plan)


class Stored(msgspec.Struct, array_like=True):
    """A version as Redis holds it for the API processes."""

    plan: str
    version: int
    effective_from: datetime
    body: Plan


def encode(versions: Iterable[Version]) -> bytes:
    """For Redis."""
    return msgspec.json.encode([Stored(*one) for one in versions])


def decode(body: bytes) -> list[Version]:
    """What `encode` made."""
    return [Version(*msgspec.structs.astuple(one)) for one in msgspec.json.decode(body, type=list[Stored])]


async def in_force(conn: asyncpg.Connection | asyncpg.Pool, since: datetime) -> list[Version]:
    """The stored versions in force at `since` or later."""
    return [_version(row) for row in await conn.fetch(QUERIES["load_plans"], since)]


async def all_versions(conn: asyncpg.Connection) -> list[Version]:
    """Every version that was ever stored."""
    return [_version(row) for row in await conn.fetch(QUERIES["list_plans"])]
