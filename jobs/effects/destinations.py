"""Destinations: where effects go. Webhooks are registered by the API, NATS and analytics come from the settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import msgspec
import yarl

from db import sql
from db.settings import Settings
from jobs.effects import webhooks
from jobs.effects.addresses import Forbidden, Guard

QUERIES: Final = sql.read("destinations")
NATS_ID: Final = UUID("6d696c65-706f-8000-8000-000000000001")
ANALYTICS_ID: Final = UUID("6d696c65-706f-8000-8000-000000000002")
ROTATION_SECONDS: Final = 24 * 3600
MOST_WEBHOOKS: Final = 100
"""Each one is a row more for every effect, written in the transaction that applies."""
URL_CHARACTERS: Final = 2048
MOST_TYPES: Final = 50
_TYPE: Final = re.compile(r"[A-Za-z0-9_.:-]{0,99}(\*|[A-Za-z0-9_])")


class Invalid(Exception):
    """What somebody wants to register cannot be: a code, a message, the path of the field."""

    def __init__(self, code: str, message: str, path: str) -> None:
        super().__init__(message)
        self.code, self.message, self.path = code, message, path


class Destination(msgspec.Struct, rename="camel", frozen=True):
    """One destination as it is shown; its secret never is."""

    id: UUID
    sort: str
    url: str
    types: list[str]
    description: str
    created_at: datetime
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: str | None
    failures: int
    """In a row."""
    paused_until: datetime | None
    """It rests, because of its failures or its Retry-After."""
    previous_secret_until: datetime | None
    """The secret before the last rotation signs until then."""


def shown(row: asyncpg.Record) -> Destination:
    """A row as it is shown."""
    values = dict(row)
    until = values.pop("previous_until")
    return Destination(**values, enabled=row["disabled_at"] is None, previous_secret_until=until)


# Judging.


def check_types(types: Sequence[str]) -> None:
    """Raises Invalid for what cannot be a type of effects, or `prefix*`."""
    if len(types) > MOST_TYPES:
        raise Invalid("invalid_webhook", f"more than {MOST_TYPES} types", "types")
    for index, one in enumerate(types):
        if not _TYPE.fullmatch(one):
            path = f"types[{index}]"
            raise Invalid("invalid_webhook", "a type looks like certificate.issued, or certificate.* for all", path)


def check_url(url: str, *, production: bool) -> yarl.URL:
    """The URL as it will be called; Invalid with the reason when it cannot be."""
    problem = _problem(url)
    try:
        parsed = yarl.URL(url)
        host, port = parsed.host, parsed.port
    except ValueError as error:
        raise Invalid("invalid_webhook", f"this is no URL: {error}", "url") from None
    if not problem:
        if parsed.scheme not in {"http", "https"} or not host or not port:
            problem = "a webhook's URL begins with https:// and a host"
        elif parsed.scheme == "http" and production:
            problem = "in production a webhook's URL begins with https://"
        elif parsed.user is not None or parsed.password is not None:
            problem = "no user and password in the URL: the signature says who sends"
        elif parsed.raw_fragment:
            problem = "no fragment in the URL: it would not be sent"
    if problem:
        raise Invalid("invalid_webhook", problem, "url")
    return parsed


def _problem(url: str) -> str:
    if len(url) > URL_CHARACTERS:
        return f"a URL has {URL_CHARACTERS} characters at most"
    if not url.isprintable() or any(char in url for char in ' \\<>"'):
        return "a URL has no spaces, quotes, backslashes or control characters"
    return ""


async def check_place(url: yarl.URL, guard: Guard) -> None:
    """Raises Invalid when the host is not to be found, or is where webhooks may not go."""
    try:
        await guard.check(url.host or "")
    except Forbidden as error:
        raise Invalid("forbidden_address", str(error), "url") from None
    except (OSError, TimeoutError, ValueError) as error:
        message = f"{url.host} is not to be found: {str(error) or type(error).__name__}"
        raise Invalid("invalid_webhook", message[:300], "url") from None


# Webhooks. The caller owns the transaction.


async def create(conn: asyncpg.Connection, url: str, types: Sequence[str], description: str) -> tuple[Destination, str]:
    """A new webhook, and its secret: the only time that it is shown. Everything has been checked."""
    if await conn.fetchval(QUERIES["count_webhooks"]) >= MOST_WEBHOOKS:
        raise Invalid("too_many_webhooks", f"there are {MOST_WEBHOOKS} webhooks already: delete one first", "")
    secret = webhooks.new_secret()
    row = await conn.fetchrow(QUERIES["create_webhook"], url, list(types), secret, description)
    return shown(row), secret


async def found(conn: asyncpg.Connection, one: UUID) -> Destination | None:
    """A webhook."""
    row = await conn.fetchrow(QUERIES["find_destination"], one, "webhook")
    return shown(row) if row else None


async def listed(conn: asyncpg.Connection, sort: str | None = None) -> list[Destination]:
    """All destinations, or those of one sort, in order of creation."""
    return [shown(row) for row in await conn.fetch(QUERIES["list_destinations"], sort)]


async def change(
    conn: asyncpg.Connection, one: UUID, url: str, types: Sequence[str], description: str, *, enabled: bool
) -> bool:
    """Change a webhook; False when there is none. Enabling forgets its failures; disabling discards what waits."""
    reason = "disabled by an operator"
    row = await conn.fetchrow(QUERIES["change_webhook"], one, url, list(types), description, enabled, reason)
    if row is not None and not enabled:
        await conn.execute(QUERIES["discard_pending_of_destination"], one, f"the webhook was {reason}")
    return row is not None


async def rotate(conn: asyncpg.Connection, one: UUID) -> tuple[str, datetime] | None:
    """A new secret, and until when the old one signs, too; None when there is no such webhook."""
    secret = webhooks.new_secret()
    row = await conn.fetchrow(QUERIES["rotate_webhook"], one, secret, ROTATION_SECONDS)
    return (secret, row["previous_until"]) if row else None


async def delete(conn: asyncpg.Connection, one: UUID) -> bool:
    """Delete a webhook and discard what waits for it; False when there is none."""
    if await conn.fetchrow(QUERIES["delete_webhook"], one) is None:
        return False
    await conn.execute(QUERIES["discard_pending_of_destination"], one, "the webhook was deleted")
    return True


# Those of the settings.


async def sync(conn: asyncpg.Connection, settings: Settings) -> None:
    """Keep the rows of NATS and analytics equal to the settings. The caller owns the transaction."""
    types: dict[UUID, Sequence[str]] = {NATS_ID: [], ANALYTICS_ID: ["first_*", *settings.analytics_types]}
    urls = {NATS_ID: settings.nats_url, ANALYTICS_ID: settings.analytics_url}
    names = {NATS_ID: ("nats", "MILEPOST_NATS_URL"), ANALYTICS_ID: ("analytics", "MILEPOST_ANALYTICS_URL")}
    for one, (sort, variable) in names.items():
        if urls[one]:
            where = ", ".join(_place(part) for part in urls[one].split(","))
            await conn.execute(QUERIES["keep_destination"], one, sort, where, list(types[one]), variable)
        elif await conn.fetchrow(QUERIES["disable_destination"], one, f"{variable} is not set"):
            await conn.execute(QUERIES["discard_pending_of_destination"], one, f"{variable} is not set")


def _place(url: str) -> str:
    """A URL without its secrets."""
    parts = urlsplit(url.strip())
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def as_json(one: Destination) -> dict[str, Any]:
    """For answers that add something to it."""
    found: dict[str, Any] = msgspec.to_builtins(one)
    return found
