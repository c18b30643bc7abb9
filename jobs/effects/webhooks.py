"""Webhooks by the specification of Standard Webhooks: what is signed, and how it goes out."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import aiohttp
from standardwebhooks import Webhook

from jobs.effects import posting
from jobs.effects.delivery import Attempt, Delivery

SECRET_BYTES: Final = 32


def new_secret() -> str:
    """A signing secret: `whsec_` and 32 random bytes in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(one: Delivery, body: bytes, now: datetime) -> Mapping[str, str]:
    """The three headers; while a secret is being changed, both sign."""
    held = [secret for secret in (one.secret, one.previous_secret) if secret]
    signatures = [Webhook(secret).sign(one.message_id, now, body.decode()) for secret in held]
    return {
        "webhook-id": one.message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


async def send(client: aiohttp.ClientSession, one: Delivery, seconds: float) -> Attempt:
    """POST it; the client is one with a guard."""
    body = one.body()
    return await posting.post(client, one.url, body, headers(one, body, datetime.now(UTC)), seconds)
