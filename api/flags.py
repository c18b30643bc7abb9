"""Families of actions, switched off and on at run time: `GET /api/admin/flags`, `PUT /api/admin/flags/{family}`."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from aiohttp import web

from api import answer, form, governing, who
from api.errors import Problem
from api.state import STATE, State
from db import flags, log
from jobs.families import FAMILIES

logger = log.get("flags")


class Switch(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT /api/admin/flags/{family}."""

    enabled: bool


_switch: Final = msgspec.json.Decoder(Switch)


async def list_flags(request: web.Request) -> web.Response:
    """Every family and group, with whether its actions are taken."""
    state = await who.operator(request)
    return answer.fresh(await _told(state))


async def put_flag(request: web.Request) -> web.Response:
    """Switch one; Postgres has it when this answers, and every API process within a second."""
    state = request.app[STATE]
    sender = await state.auth.sender(request, "admin")
    family = request.match_info["family"]
    if family not in governing.names():
        raise Problem("unknown_family", f"there are {', '.join(governing.names())}", details={"path": "family"})
    enabled = (await form.read(request, _switch)).enabled
    await flags.switch(state.pool, family, enabled=enabled, by=sender.name)
    await flags.publish(state.pool, state.redis)
    state.off = governing.kinds_off(await flags.read(state.pool))
    logger.warning("a family was switched", family=family, enabled=enabled, by=sender.name)
    return answer.fresh(await _told(state))


async def _told(state: State) -> dict[str, Any]:
    switched = {row["family"]: row for row in await flags.listed(state.pool)}
    return {"flags": [_one(name, switched.get(name)) for name in governing.names()]}


def _one(name: str, row: Any) -> dict[str, Any]:
    kinds = [kind.name for family in FAMILIES if name in {family.name, family.group} for kind in family.kinds]
    found: dict[str, Any] = {"family": name, "enabled": True, "changedAt": None, "changedBy": None, "kinds": kinds}
    if row is not None:
        changed = row["changed_at"].isoformat().replace("+00:00", "Z")
        found |= {"enabled": row["enabled"], "changedAt": changed, "changedBy": row["changed_by"]}
    return found


ROUTES: Final = (
    web.get("/api/admin/flags", list_flags),
    web.put("/api/admin/flags/{family}", put_flag),
)
