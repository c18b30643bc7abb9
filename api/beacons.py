"""Routes that take an action of one kind, under the names that pages have for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from api import form, ingest
from api.errors import Problem
from api.state import STATE
from jobs.action import Draft


class Interaction(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Body of POST /api/sessions/track-interaction."""

    session_id: str
    interaction: msgspec.Raw


class SaveConfig(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Body of POST /api/sessions/save-config."""

    session_id: str
    configuration: msgspec.Raw
    trigger: str
    total_price: float | None = None
    completion_percentage: float | None = None


class Performance(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Body of POST /api/performance/track."""

    metric_name: str
    value: float
    session_id: str | None = None
    additional_data: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


def _handler(
    kind: str, data: Callable[[Any], msgspec.Raw], body: type[Interaction | SaveConfig | Performance], root: str = "$"
) -> Handler:
    """For a body of one kind, whose data lies at `root`; browsers' beacons send it as text/plain."""
    decoder = msgspec.json.Decoder(body)

    async def handler(request: web.Request) -> web.StreamResponse:
        state = request.app[STATE]
        sender = await state.auth.sender(request, "ingest")
        limits = await state.rates.check(sender, "ingest") if "ingest" in state.rates.rules else None
        given = await form.read(request, decoder)
        draft = Draft(kind=kind, session_id=given.session_id, data=data(given))
        try:
            return await ingest.take(request, state, sender, [draft], limits)
        except Problem as problem:
            raise ingest.relocated(root, problem) from None

    return handler


def _without_session(body: SaveConfig | Performance) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(form.given(body, ("session_id",))))


ROUTES: Final = (
    web.post(
        "/api/sessions/track-interaction",
        _handler("interaction.recorded", lambda given: given.interaction, Interaction, "$.interaction"),
    ),
    web.post("/api/sessions/save-config", _handler("configuration.saved", _without_session, SaveConfig)),
    web.post("/api/performance/track", _handler("metric.recorded", _without_session, Performance)),
)
