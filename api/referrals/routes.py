"""Referrals: the code of an organisation, the claim of one who came by it, and what became of both."""

from __future__ import annotations

from typing import Any, Final

import asyncpg
import msgspec
from aiohttp import web

from api import answer, form, pages, reads, updates, who
from api.errors import Problem
from api.pages import Page
from api.state import State
from db import sql
from jobs.action import Draft, Sender
from jobs.referrals import attribution
from jobs.referrals import rows as stored
from jobs.referrals.attribution import Referral

QUERIES: Final = sql.read("referral_reads")
ISSUE_SECONDS: Final = 2.0
"""How long the first request for a code waits for the worker."""


class ReferralClaim(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Body of POST /v1/referrals/claim, sent for the organisation that came by the code; a service names it."""

    code: str
    id: str | None = None
    org_id: str | None = None


class _Code(msgspec.Struct):
    code: str


_claim: Final = msgspec.json.Decoder(ReferralClaim)
_code: Final = msgspec.json.Decoder(_Code)


async def read_code(request: web.Request) -> web.Response:
    """GET /v1/referrals/code: `{code, link, stats}`. The first call makes the code, and needs the worker for it.

    The code comes from its read model and never changes; the counts are those of Postgres at the moment.
    """
    state, sender, org_id, limits = await _reader(request)
    reached = await reads.after(request, state)
    code = await held(state, org_id) or await _issue(state, sender, org_id)
    async with state.pool.acquire() as conn:
        stats = await conn.fetchrow(QUERIES["referral_stats"], org_id)
    body = {"code": code, "link": _link(state, code), "stats": dict(stats)}
    return reads.answer(request, msgspec.json.encode(body), reached, limits)


async def held(state: State, org_id: str) -> str | None:
    """An organisation's code; None when it has none yet."""
    body = await reads.model(state, f"org:{org_id}", stored.model(org_id), lambda conn: _load(conn, org_id))
    return None if body is None else _code.decode(body).code


async def _load(conn: asyncpg.Connection, org_id: str) -> bytes | None:
    code = await conn.fetchval(QUERIES["referral_code"], org_id)
    return None if code is None else msgspec.json.encode(_Code(code))


async def _issue(state: State, sender: Sender, org_id: str) -> str:
    draft = Draft(kind="referral.code_requested", org_id=org_id)
    update = await updates.send(state, sender, draft, ISSUE_SECONDS)
    if update.outcome is None:
        raise Problem("not_ready", "the code is on its way, and nobody has made it yet: ask again")
    return str(update.outcome["code"])


def _link(state: State, code: str) -> str:
    link: str = state.catalog.referrals.link
    return link.replace("{code}", code)


async def claim(request: web.Request) -> web.Response:
    """POST /v1/referrals/claim: 200 with the referral, 422 when the code is not one for this organisation."""
    state, sender, wait = await updates.begin(request)
    body = await form.read(request, _claim)
    org_id = who.org(request, sender, body.org_id)
    limits = await state.rates.check(sender, "update", org_id)
    data = msgspec.Raw(msgspec.json.encode({"code": body.code}))
    draft = Draft(kind="referral.signed_up", id=updates.key(request, body.id), org_id=org_id, data=data)
    update = await updates.send(state, sender, draft, wait, "$")
    if update.outcome is None:
        return updates.accepted(update, {})
    hidden = {"referrerOrgId"} if sender.role == "user" else set()
    told = {name: value for name, value in update.outcome["referral"].items() if name not in hidden}
    return answer.fresh({"success": True, "referral": told}, limits)


async def read(request: web.Request) -> web.Response:
    """GET /v1/referrals?limit=&page=: what an organisation referred and got for it, the newest first."""
    state, _, org_id, limits = await _reader(request)
    page = pages.read(request)
    reached = await reads.after(request, state)
    async with state.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        body = await _told(conn, org_id, page)
    return reads.answer(request, msgspec.json.encode(body), reached, limits)


async def _told(conn: asyncpg.Connection, org_id: str, page: Page) -> dict[str, Any]:
    own = await conn.fetch(stored.QUERIES["load_referrals"], [org_id])
    made = await conn.fetch(QUERIES["referrals_made"], org_id, page.limit, page.offset)
    rewards = await conn.fetch(QUERIES["referral_rewards_of"], org_id, page.limit, page.offset)
    stats = await conn.fetchrow(QUERIES["referral_stats"], org_id)
    return {
        "code": await conn.fetchval(QUERIES["referral_code"], org_id),
        "referral": attribution.shown(Referral(*own[0]), is_referrer=False) if own else None,
        "stats": dict(stats),
        "referrals": [attribution.shown(Referral(*row), is_referrer=True) for row in made],
        "rewards": [_reward(org_id, row) for row in rewards],
        "earned": [dict(row) for row in await conn.fetch(QUERIES["referral_earnings"], org_id)],
    }


def _reward(org_id: str, row: asyncpg.Record) -> dict[str, Any]:
    """A row of the ledger; at the referrer with whom it is for."""
    whom = {"referredOrgId": row["referred_org_id"]} if row["referred_org_id"] != org_id else {}
    return {**whom, "side": row["side"], "amount": row["amount"], "unit": row["unit"], "createdAt": row["created_at"]}


async def _reader(request: web.Request) -> tuple[State, Sender, str, dict[str, str]]:
    state, sender = await who.reader(request)
    org_id = who.org(request, sender)
    return state, sender, org_id, await state.rates.check(sender, "read", org_id)


ROUTES: Final = (
    web.get("/v1/referrals/code", read_code),
    web.post("/v1/referrals/claim", claim),
    web.get("/v1/referrals", read),
)
