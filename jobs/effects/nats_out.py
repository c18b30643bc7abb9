"""Effects to NATS: each on `milepost.<type>`, with a `Nats-Msg-Id` by which JetStream drops repetitions."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Final

import nats
from nats.aio.client import Client
from nats.errors import Error

from db import log
from jobs.effects import delivery
from jobs.effects.delivery import Attempt, Delivery

PREFIX: Final = "milepost."
ALSO: Final = {"certificate.issued": "certificate.create"}
"""A type -> the subject on which other services wait for it, too."""
_TOKEN = re.compile(r"[^\w.-]")
_REFUSED = re.compile(r'permissions violation for publish to "([^"]*)"')

logger = log.get("effects")
_warn = log.Seldom(logger, seconds=60)


def subjects(type_: str) -> list[tuple[str, str]]:
    """(subject, what its message id ends with) of a type: one stream may hold both subjects."""
    found = [(PREFIX + _TOKEN.sub("_", type_), "")]
    return found + ([(ALSO[type_], "-2")] if type_ in ALSO else [])


class Publisher:
    """A connection to NATS, made when first needed and made anew when it is lost."""

    def __init__(self, url: str) -> None:
        """`url`: one or several, separated by commas."""
        self.servers = [part.strip() for part in url.split(",") if part.strip()]
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._refused = Counter[str]()
        """Subject, in small letters as the client tells it -> how often the server did not let us publish there."""

    async def send(self, one: Delivery, seconds: float) -> Attempt:
        """Publish it; it is delivered when the server has answered behind it."""
        at, started = datetime.now(UTC), time.monotonic()
        error: str | None = None
        try:
            async with asyncio.timeout(seconds):
                await self._publish(one, max(1, int(seconds)))
        except TimeoutError:
            error = f"no answer within {seconds:g} s"
        except (Error, OSError, ValueError) as fault:
            error = delivery.text(str(fault) or type(fault).__name__)
        return Attempt(at, int((time.monotonic() - started) * 1000), error=error)

    async def _publish(self, one: Delivery, seconds: int) -> None:
        client = await self._connected()
        body, wanted = one.body(), subjects(one.type)
        held = {subject: self._refused[subject.lower()] for subject, _ in wanted}
        for subject, suffix in wanted:
            await client.publish(subject, body, headers={"Nats-Msg-Id": one.message_id + suffix})
        # The client's flush sends its PING ahead of what it still holds: an answer would say nothing of our messages.
        while client.pending_data_size and client.is_connected:  # noqa: ASYNC110 - the client has no event for it
            await asyncio.sleep(0)
        await client.flush(seconds)
        # The server says no before it answers the flush. It does not say to which message: to be safe, to ours.
        for subject, number in held.items():
            if self._refused[subject.lower()] > number:
                raise Error(f"the server refuses what is published to {subject}")

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None or not self._client.is_connected:
                await self.close()
                self._client = await nats.connect(
                    self.servers,
                    name="milepost",
                    connect_timeout=5,
                    allow_reconnect=False,
                    error_cb=self._told,
                    max_reconnect_attempts=1,
                )
            return self._client

    async def close(self) -> None:
        """End the connection, if there is one."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _told(self, error: Exception) -> None:
        said = str(error) or type(error).__name__
        if refused := _REFUSED.search(said):
            self._refused[refused[1]] += 1
        _warn("NATS says", error=said)
