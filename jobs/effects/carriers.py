"""What carries deliveries out of one process: a session for webhooks, one for analytics, a connection to NATS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import assert_never

import aiohttp

from db.settings import Settings
from jobs.effects import addresses, forwarder, posting, webhooks
from jobs.effects.delivery import Attempt, Delivery
from jobs.effects.nats_out import Publisher


@dataclass(frozen=True, slots=True)
class Carriers:
    """Open for as long as the process delivers."""

    settings: Settings
    guarded: aiohttp.ClientSession
    """To where strangers say: public addresses only."""
    plain: aiohttp.ClientSession
    """To where the settings say."""
    nats: Publisher

    async def send(self, one: Delivery) -> Attempt:
        """Try once, within MILEPOST_WEBHOOK_TIMEOUT; whatever goes wrong is in the attempt."""
        settings, seconds = self.settings, self.settings.webhook_timeout
        match one.sort:
            case "webhook":
                return await webhooks.send(self.guarded, one, seconds)
            case "analytics":
                return await forwarder.send(self.plain, settings.analytics_url, settings.analytics_key, one, seconds)
            case "nats":
                return await self.nats.send(one, seconds)
            case _:
                assert_never(one.sort)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Carriers]:
    """The carriers, until the block ends; nothing is connected before something is sent."""
    nats = Publisher(settings.nats_url)
    async with posting.session(addresses.guard(settings)) as guarded, posting.session() as plain:
        try:
            yield Carriers(settings, guarded, plain, nats)
        finally:
            await nats.close()
