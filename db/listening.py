"""The messages of a subscription. A server that is gone without a word ends it: else nobody would ever notice."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, Final

from redis import exceptions
from redis.asyncio.client import PubSub

PING_SECONDS: Final = 1.0
SILENT_SECONDS: Final = 5.0
"""As long as any other command may take."""


async def messages(channel: PubSub) -> AsyncIterator[tuple[bytes, bytes]]:
    """The channel and the data of each message, for ever; who is silent is asked. Raises ConnectionError."""
    heard = time.monotonic()
    while True:
        message: dict[str, Any] | None = await channel.get_message(timeout=PING_SECONDS)
        if message is not None:
            heard = time.monotonic()
            if message["type"] == "message":
                yield message["channel"], message["data"]
        elif time.monotonic() > heard + SILENT_SECONDS:
            raise exceptions.ConnectionError("the subscription is silent, and so is the server behind it")
        else:
            await channel.ping()
