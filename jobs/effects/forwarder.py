"""Analytics forwarding: effects as `track` calls of Segment's HTTP API, which many analytics services understand."""

from __future__ import annotations

from typing import Any, Final

import aiohttp
import msgspec
from aiohttp import hdrs

from jobs.effects import posting
from jobs.effects.delivery import Attempt, Delivery

PATH: Final = "/v1/track"


def call(one: Delivery) -> dict[str, Any]:
    """The body of the call. Who: the user of the effect; of an organisation's, the organisation as an anonymous id."""
    properties = msgspec.json.decode(one.data)
    if not isinstance(properties, dict):
        properties = {"value": properties}
    sort, _, name = one.subject.partition(":")
    user = properties.get("userId") or (name if sort == "user" else None)
    return {
        "type": "track",
        "messageId": one.message_id,
        **({"userId": user} if user else {"anonymousId": one.subject}),
        "event": one.type,
        "properties": properties,
        "timestamp": one.at,
        "context": {"library": {"name": "milepost", "version": "0.1.0"}},
    }


async def send(client: aiohttp.ClientSession, url: str, key: str, one: Delivery, seconds: float) -> Attempt:
    """POST it; the write key is the user name of Basic authentication."""
    headers = {str(hdrs.AUTHORIZATION): aiohttp.encode_basic_auth(key, "")}
    return await posting.post(client, url.rstrip("/") + PATH, msgspec.json.encode(call(one)), headers, seconds)
