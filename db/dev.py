"""`dev.json`: where a freshly started Milepost is, and with which keys one talks to it."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg
import jwt
from redis.exceptions import RedisError
from rich.console import Console

from db import connect, migrate, service_keys, stored_catalog
from db.server import StartError
from db.settings import Settings
from db.state import State

TOKEN_SECONDS = 30 * 86_400
TRY = {"kind": "interaction.recorded", "sessionId": "try-1", "data": {"eventType": "click", "category": "size"}}


@dataclass(frozen=True)
class Dev:
    """What `dev.json` holds, under the names that it has there."""

    url: str
    adminKey: str  # noqa: N815
    serviceKey: str  # noqa: N815
    userToken: str  # noqa: N815
    userId: str  # noqa: N815
    jwtSecret: str  # noqa: N815
    databaseUrl: str  # noqa: N815
    redisUrl: str  # noqa: N815


def describe(state: State, settings: Settings) -> Dev:
    """Addresses and keys of this start: the keys are those of the first one, the user's token is fresh."""
    secret = settings.jwt_secret or state.secrets["jwtSecret"]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
    return Dev(
        url=f"http://{f'[{host}]' if ':' in host and '[' not in host else host}:{settings.port}",
        adminKey=state.secrets["adminKey"],
        serviceKey=state.secrets["serviceKey"],
        userToken=user_token(settings, secret, state.secrets["userId"]),
        userId=state.secrets["userId"],
        jwtSecret=secret,
        databaseUrl=settings.database_url,
        redisUrl=settings.redis_url,
    )


def user_token(settings: Settings, secret: str, user: str, org: str | None = None) -> str:
    """A token of one user, good for 30 days; `org`: the organisation that it acts for, too, as referrals need it."""
    now = int(time.time())
    claims: dict[str, Any] = {"sub": user, "iat": now, "exp": now + TOKEN_SECONDS}
    demanded = {"iss": settings.jwt_issuer, "aud": settings.jwt_audience, "org_id": org}
    return jwt.encode(claims | {name: value for name, value in demanded.items() if value}, secret, algorithm="HS256")


async def provision(dev: Dev) -> list[str]:
    """Bring the schema up, store the two keys, and the default catalog if there is none; what was migrated now.

    StartError when a server cannot be used.
    """
    try:
        async with connect.redis(dev.redisUrl) as redis:
            await redis.ping()
    except (RedisError, OSError, ValueError) as error:
        raise StartError(f"MILEPOST_REDIS_URL cannot be used: {error}") from error
    try:
        conn = await connect.postgres(dev.databaseUrl, "milepost up")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as error:
        raise StartError(f"MILEPOST_DATABASE_URL cannot be used: {error or type(error).__name__}") from error
    try:
        applied = await migrate.up(conn)
        await service_keys.create(conn, "dev-admin", ("ingest", "read", "admin"), key=dev.adminKey)
        await service_keys.create(conn, "dev-service", ("ingest", "read"), key=dev.serviceKey)
        await stored_catalog.keep(conn, stored_catalog.shipped())
    except (migrate.Failed, asyncpg.PostgresError) as error:
        raise StartError(f"the database could not be prepared: {error}") from error
    finally:
        await conn.close()
    return applied


def write(state: State, dev: Dev) -> Path:
    """Write `dev.json`, mode 0600."""
    return state.write("dev.json", asdict(dev))


def show(dev: Dev, file: Path) -> None:
    """The addresses on one small screen, and a line to try."""
    console = Console(soft_wrap=True, highlight=False)
    rows = {
        "API": dev.url,
        "dashboard": f"{dev.url}/admin/ with the adminKey",
        "docs": f"{dev.url}/docs",
        "a user": f"{dev.url}/demo/#token={dev.userToken}",
        "metrics": f"{dev.url}/metrics",
        "Postgres": dev.databaseUrl,
        "Redis": dev.redisUrl,
        "keys": str(file),
    }
    console.print("\n  [bold]Milepost is up.[/] Ctrl-C stops it; the next start finds its data again.\n")
    for name, value in rows.items():
        console.print(f"  [cyan]{name:<10}[/]", end="")
        console.print(value, markup=False)
    console.print("\n  try it:")
    console.print(f"  curl -s {dev.url}/v1/actions -H 'Authorization: Bearer {dev.serviceKey}' \\", markup=False)
    console.print(f"    -H 'Content-Type: application/json' -d '{json.dumps(TRY)}'\n", markup=False)
