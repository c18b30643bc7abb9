"""One session as it stands."""

from __future__ import annotations

import re
from typing import Final

import asyncpg
import msgspec
from aiohttp import web

from api import reads, who
from api.errors import Problem
from api.state import State
from jobs.action import Sender
from jobs.tracking.family import QUERIES
from jobs.tracking.session import Session
from jobs.tracking.states import AUTO, encode

_FORM: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}")
"""An id as clients may choose it, or one of ours, which is longer by what we put around it."""


class _Owner(msgspec.Struct, rename="camel"):
    user_id: str | None = None


async def read(request: web.Request) -> web.Response:
    """GET /v1/sessions/{sessionId}?after=position: counts, times, user, newest category, price, completion."""
    state, sender = await who.reader(request)
    session_id = request.match_info["sessionId"]
    reached = await reads.after(request, state)
    body = await _model(state, session_id) if _FORM.fullmatch(session_id) else None
    if sender.role == "user" and not _owns(sender, body):
        raise Problem("forbidden_subject", "a user token reads its own sessions only", status=403)
    if body is None:
        raise Problem("not_found", "no such session")
    return reads.answer(request, body, reached)


async def _model(state: State, session_id: str) -> bytes | None:
    return await reads.model(state, _subject(session_id), f"session:{session_id}", lambda conn: _load(conn, session_id))


def _subject(session_id: str) -> str:
    return session_id[len(AUTO) :].rpartition("@")[0] if session_id.startswith(AUTO) else f"session:{session_id}"


def _owns(sender: Sender, body: bytes | None) -> bool:
    return body is not None and msgspec.json.decode(body, type=_Owner).user_id == sender.user_id


async def _load(conn: asyncpg.Connection, session_id: str) -> bytes | None:
    rows = await conn.fetch(QUERIES["load_sessions"], [session_id])
    return encode(Session(*rows[0])) if rows else None
