"""The state of a subject as events: what a live stream begins with. A family that tells of changes has an entry here.

The bodies are those that its fold emits as `Live`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from api import reads
from api.live import event_stream
from api.onboarding import routes as onboarding
from api.state import State
from api.usage import routes as usage
from db import sql
from jobs.courses import models as course_models
from jobs.courses.certificate import addressed
from jobs.courses.course import Enrolment
from jobs.onboarding import checklist as fold
from jobs.referrals import attribution
from jobs.referrals.attribution import Referral

QUERIES: Final = sql.read("live")
MOST: Final = 200
"""Courses, or referrals, that a stream begins with: those that changed last."""


class _Certificates(msgspec.Struct):
    certificates: list[dict[str, Any]]


_certificates: Final = msgspec.json.Decoder(_Certificates)


class Snapshot(NamedTuple):
    """One event: `load` gives its bodies for the id of a user or of an organisation."""

    of: str
    event: str
    load: Callable[[State, str], Awaitable[Sequence[bytes]]]


async def _onboarding(state: State, user_id: str) -> list[bytes]:
    checklist, catalog = await onboarding.held(state, user_id), state.catalog.onboarding
    return [msgspec.json.encode(fold.progress(checklist, catalog) | {"status": fold.status(checklist, catalog)})]


async def _progress(state: State, user_id: str) -> list[bytes]:
    rows = await state.pool.fetch(QUERIES["newest_courses"], user_id, MOST)
    return [course_models.live_body(Enrolment(*row)) for row in rows]


async def _held(state: State, user_id: str) -> list[bytes]:
    name = course_models.certificates_name(user_id)
    body = await reads.model(
        state, f"user:{user_id}", name, lambda conn: course_models.load_certificates(conn, user_id)
    )
    held = _certificates.decode(body).certificates if body else []
    return [msgspec.json.encode(addressed(one, state.settings.public_url)) for one in held]


async def _referrals(state: State, org_id: str) -> list[bytes]:
    rows = await state.pool.fetch(QUERIES["newest_referrals"], org_id, MOST)
    referrals = [Referral(*row) for row in rows]
    return [msgspec.json.encode(attribution.shown(one, is_referrer=one.referrer_org_id == org_id)) for one in referrals]


def _usage(of: str) -> Callable[[State, str], Awaitable[list[bytes]]]:
    async def load(state: State, own_id: str) -> list[bytes]:
        return [msgspec.json.encode(await usage.shown(state, f"{of}:{own_id}"))]

    return load


SNAPSHOTS: Final = (
    Snapshot("user", "onboarding", _onboarding),
    Snapshot("user", "progress", _progress),
    Snapshot("user", "certificate", _held),
    Snapshot("user", "usage", _usage("user")),
    Snapshot("org", "referral", _referrals),
    Snapshot("org", "usage", _usage("org")),
)


async def events(state: State, subject: str) -> list[bytes]:
    """The events of a subject's state, without ids."""
    of, _, own_id = subject.partition(":")
    wanted = [one for one in SNAPSHOTS if one.of == of]
    found = await asyncio.gather(*(one.load(state, own_id) for one in wanted))
    return [event_stream.event(one.event, body) for one, bodies in zip(wanted, found, strict=True) for body in bodies]
