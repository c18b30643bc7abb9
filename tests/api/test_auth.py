"""Who sends: keys and tokens over HTTP, with Redis and Postgres there, and away."""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import jwt
import msgspec
import pytest
from aiohttp import web
from redis.asyncio import Redis

from api.auth import key_source
from api.auth import senders as auths
from api.auth.senders import Auth
from db import connect, keys, service_keys
from db.settings import Settings
from tests.api.doors import Client, door
from tests.api.identity_provider import claims

AWAY = "postgresql://x:y@127.0.0.1:1/z"
REDIS_AWAY = "redis://127.0.0.1:1/0"


@asynccontextmanager
async def api(settings: Settings, scope: str | None = None) -> AsyncIterator[tuple[Client, Auth]]:
    """A server that answers who the sender is."""
    pool = await connect.pool(settings, "test", 4)
    async with pool, connect.redis(settings.log_url) as client:
        auth = Auth(settings, client, pool)

        async def who(request: web.Request) -> web.Response:
            sender = await auth.sender(request, scope)
            return web.json_response(msgspec.to_builtins(sender) | {"scopes": sorted(sender.scopes)})

        async with door(who) as http:
            yield http, auth
        await auth.close()


async def ask(client: Client, authorization: str | None, query: str = "") -> tuple[int, dict[str, Any]]:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with client.get(f"/{query}", headers=headers) as response:
        body: dict[str, Any] = await response.json()
        if response.status == 401:
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
        if response.status == 503:
            assert int(response.headers["Retry-After"]) > 0
        return response.status, body.get("error", body)


def basic(user: str, password: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def invented() -> str:
    return f"mp_{secrets.token_urlsafe(32)}"


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await connect.postgres(database_url)
    yield conn
    await conn.close()


@pytest.fixture
async def key(sql: asyncpg.Connection) -> str:
    return await service_keys.create(sql, "shop", ["ingest"])


async def test_a_service_key_as_bearer_and_as_basic(settings: Settings, key: str) -> None:
    async with api(settings) as (client, _):
        for header in (
            f"Bearer {key}",
            f"bearer  {key}",
            basic(key),
            basic(key, "ignored"),
            basic(key).lower()[:6] + basic(key)[6:],
        ):
            status, sender = await ask(client, header)
            assert status == 200, header
            assert (sender["role"], sender["scopes"], sender["user_id"]) == ("service", ["ingest"], None)
            assert sender["name"].startswith("key:shop:")


async def test_an_admin_key_holds_every_scope(settings: Settings, sql: asyncpg.Connection) -> None:
    key = await service_keys.create(sql, "ops", ["admin"])
    async with api(settings, "read") as (client, _):
        status, sender = await ask(client, f"Bearer {key}")
    assert (status, sender["role"], sender["scopes"]) == (200, "admin", ["admin", "ingest", "read"])


async def test_a_missing_scope_is_403(settings: Settings, key: str) -> None:
    async with api(settings, "read") as (client, _):
        status, error = await ask(client, f"Bearer {key}")
    assert (status, error["code"], error["details"]) == (403, "missing_scope", {"scope": "read"})


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "unauthorized"),
        ("", "unauthorized"),
        ("Bearer", "unauthorized"),
        ("Bearer ", "unauthorized"),
        ("Digest x", "unauthorized"),
        ("Bearer mp_short", "invalid_key"),
        ("Bearer nonsense", "invalid_token"),
        ("Bearer a b c", "invalid_token"),
        ("Basic", "invalid_key"),
        ("Basic !!!", "invalid_key"),
        ("Basic /////w==", "invalid_key"),
        (basic("somebody", "secret"), "invalid_key"),
        (basic("", invented()), "invalid_key"),
        (f"Bearer {invented()}", "invalid_key"),
        (basic(invented()), "invalid_key"),
        ("Bearer " + "x" * 8000, "invalid_token"),
    ],
    ids=lambda value: str(value)[:9],  # what is made up differs in each process
)
async def test_headers_that_are_refused(settings: Settings, header: str | None, code: str) -> None:
    async with api(settings) as (client, _):
        status, error = await ask(client, header)
    assert (status, error["code"]) == (401, code)


async def test_bytes_that_are_no_text(settings: Settings) -> None:
    async with api(settings) as (client, _):
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer \xff\xfe.a.b\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"invalid_token" in answer


async def test_a_user_token(settings: Settings) -> None:
    token = jwt.encode(claims(org_id="org-1"), settings.jwt_secret, "HS256")
    async with api(settings, "ingest") as (client, auth):
        status, sender = await ask(client, f"Bearer {token}")
        assert (status, sender["role"], sender["user_id"], sender["org_id"]) == (200, "user", "user-1", "org-1")
        assert auth._believed[f"Bearer {token}"].until <= time.monotonic() + auths.TOKEN_SECONDS


async def test_a_believed_token_still_expires(settings: Settings) -> None:
    token = jwt.encode(claims(exp=int(time.time()) + 30), settings.jwt_secret, "HS256")
    async with api(settings) as (client, auth):
        assert (await ask(client, f"Bearer {token}"))[0] == 200
        assert auth._believed[f"Bearer {token}"].until <= time.monotonic() + 30
        auth._believed.clear()
        auth.tokens.now = lambda: time.time() + 31
        status, error = await ask(client, f"Bearer {token}")
    assert (status, error["code"]) == (401, "token_expired")


async def test_a_known_header_asks_nobody(settings: Settings, key: str, sql: asyncpg.Connection, redis: Redis) -> None:
    patient = settings.model_copy(update={"key_cache_seconds": 60.0})
    async with api(patient) as (client, auth):
        assert (await ask(client, f"Bearer {key}"))[0] == 200
        await sql.execute("DROP TABLE service_keys")
        await redis.flushdb()
        assert (await ask(client, f"Bearer {key}"))[0] == 200
        assert not auth._asking


async def test_redis_answers_for_postgres(settings: Settings, key: str, redis: Redis) -> None:
    async with api(settings) as (client, _):
        assert (await ask(client, f"Bearer {key}"))[0] == 200
    assert await redis.hexists(keys.SERVICE_KEYS, service_keys.digest(key))  # type: ignore[misc]
    async with api(settings.model_copy(update={"database_url": AWAY})) as (client, _):
        assert (await ask(client, f"Bearer {key}"))[0] == 200


async def test_a_revoked_key_is_refused(settings: Settings, key: str, sql: asyncpg.Connection, redis: Redis) -> None:
    impatient = settings.model_copy(update={"key_cache_seconds": 0.0})
    async with api(impatient) as (client, _):
        assert (await ask(client, f"Bearer {key}"))[0] == 200
        await service_keys.forget(redis, await service_keys.revoke(sql, "shop"))
        status, error = await ask(client, f"Bearer {key}")
    assert (status, error["code"]) == (401, "invalid_key")


async def test_a_late_word_to_redis_does_not_take_a_revocation_back(settings: Settings, key: str, redis: Redis) -> None:
    """An API process asked Postgres just before the revocation, and tells Redis just after it."""
    hashed = service_keys.digest(key)
    await service_keys.forget(redis, [hashed])
    await service_keys.remember(redis, hashed, service_keys.Known("1", "shop", ("ingest",), time.time()))
    async with api(settings) as (client, _):
        assert (await ask(client, f"Bearer {key}"))[0] == 401


async def test_what_redis_knows_is_compared_with_postgres(
    settings: Settings, key: str, sql: asyncpg.Connection, redis: Redis
) -> None:
    """Revoked in Postgres while Redis was away: found out once its word is old, and not while Postgres is away."""
    hashed = service_keys.digest(key)
    old = time.time() - key_source.REREAD_SECONDS - 1
    await service_keys.remember(redis, hashed, service_keys.Known("1", "shop", ("ingest",), old))
    await service_keys.revoke(sql, "shop")
    async with api(settings.model_copy(update={"database_url": AWAY})) as (client, _):
        assert (await ask(client, f"Bearer {key}"))[0] == 200
    async with api(settings) as (client, _):
        assert (await ask(client, f"Bearer {key}"))[0] == 401
    assert (await service_keys.recall(redis, hashed)) == (None, True)


async def test_with_both_away_a_known_key_is_believed_for_an_hour(settings: Settings, key: str) -> None:
    impatient = settings.model_copy(update={"key_cache_seconds": 0.0})
    async with api(impatient) as (client, auth):
        assert (await ask(client, f"Bearer {key}"))[0] == 200
        no_redis = connect.redis(REDIS_AWAY)
        auth.source.client, auth.source.pool = (
            no_redis,
            await connect.pool(settings.model_copy(update={"database_url": AWAY}), "test", 1),
        )
        assert (await ask(client, f"Bearer {key}"))[0] == 200
        status, error = await ask(client, f"Bearer {invented()}")
        assert (status, error["code"]) == (503, "keys_unavailable")
        believed = auth._believed[f"Bearer {key}"]
        longer_ago = believed.learned - auths.STALE_SECONDS
        auth._believed[f"Bearer {key}"] = auths._Believed(believed.sender, 0.0, longer_ago)
        assert (await ask(client, f"Bearer {key}"))[0] == 503
        await no_redis.aclose()


async def test_with_redis_away_postgres_answers(settings: Settings, key: str) -> None:
    async with api(settings.model_copy(update={"redis_url": REDIS_AWAY})) as (client, _):
        assert (await ask(client, f"Bearer {key}"))[0] == 200
        assert (await ask(client, f"Bearer {invented()}"))[0] == 401


async def test_many_at_once_are_one_look_up(settings: Settings, key: str) -> None:
    async with api(settings) as (client, auth):
        answers = await asyncio.gather(*(ask(client, f"Bearer {key}") for _ in range(50)))
        assert {status for status, _ in answers} == {200}
        assert auth.source._look_ups == 1


async def test_a_flood_of_one_wrong_key(settings: Settings) -> None:
    wrong = f"Bearer {invented()}"
    async with api(settings) as (client, auth):
        for _ in range(20):
            assert (await ask(client, wrong))[0] == 401
        assert auth.source._look_ups <= 3  # one a second


async def test_a_flood_of_wrong_keys(
    settings: Settings, key: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres is asked so often and no more; keys that Redis knows get through."""
    monkeypatch.setattr(key_source, "MOST_LOOK_UPS", 10)
    await service_keys.remember(
        redis, service_keys.digest(key), service_keys.Known("1", "shop", ("ingest",), time.time())
    )
    async with api(settings) as (client, auth):
        auth.source.now = lambda: 1.5
        statuses = [(await ask(client, f"Bearer {invented()}"))[0] for _ in range(20)]
        assert statuses == [401] * 10 + [503] * 10
        assert (await ask(client, f"Bearer {key}"))[0] == 200


async def test_the_memories_are_bounded(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auths, "MOST_BELIEVED", 5)
    monkeypatch.setattr(auths, "MOST_DENIED", 5)
    async with api(settings) as (client, auth):
        first = "Bearer " + jwt.encode(claims(sub="first"), settings.jwt_secret, "HS256")
        await ask(client, first)
        for number in range(12):
            await ask(client, "Bearer " + jwt.encode(claims(sub=f"user-{number}"), settings.jwt_secret, "HS256"))
            await ask(client, f"Bearer {invented()}")
        assert len(auth._believed) == 5
        assert first not in auth._believed
        assert len(auth._denied) <= 5


async def test_a_key_in_the_address_for_beacons(settings: Settings, key: str, sql: asyncpg.Connection) -> None:
    more = await service_keys.create(sql, "server", ["ingest", "read"])
    token = jwt.encode(claims(), settings.jwt_secret, "HS256")
    async with api(settings) as (client, _):
        assert (await ask(client, None, f"?key={key}"))[0] == 200
        for wrong in (more, token, invented(), ""):
            assert (await ask(client, None, f"?key={wrong}"))[0] == 401, wrong


async def test_who_gives_up_does_not_take_the_others_along(settings: Settings, key: str) -> None:
    async with api(settings) as (_, auth):
        first = asyncio.create_task(auth._ask(f"Bearer {key}"))
        second = asyncio.create_task(auth._ask(f"Bearer {key}"))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).role == "service"
        assert first.cancelled()
