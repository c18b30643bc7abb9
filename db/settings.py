"""Every setting of Milepost, in one table: environment variables prefixed MILEPOST_, or a `.env` file."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import Annotated, Any, Literal, NoReturn

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from db import allowed, server_urls

Durability = Literal["memory", "fsync", "replica"]


RATE = re.compile(r"((?P<amount>[1-9]\d*)(/| per )((?P<number>[1-9]\d*) )?(?P<unit>second|minute|hour|day)s?)?")


def _rate(value: str) -> str:
    if RATE.fullmatch(value) is None:
        raise ValueError("a rate looks like 100/minute or 6000 per 5 minutes; empty for none")
    return value


Rate = Annotated[str, AfterValidator(_rate)]


_PUBLIC_URL = re.compile(r"https?://[^\s/?#@\"'<>]+(/[^\s?#\"'<>]*)?")


def _public_url(value: str) -> str:
    if value and _PUBLIC_URL.fullmatch(value) is None:
        raise ValueError("a public address looks like https://learn.example.com or https://example.com/milepost")
    return value.rstrip("/")


PublicUrl = Annotated[str, AfterValidator(_public_url)]
PostgresUrl = Annotated[str, AfterValidator(server_urls.postgres)]


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _allowed(value: tuple[str, ...]) -> tuple[str, ...]:
    allowed.parse(value)
    return value


class Settings(BaseSettings):
    """One process's settings; `docs/operations.md` shows the same table, and a test compares the two."""

    model_config = SettingsConfigDict(env_prefix="MILEPOST_", env_file=".env", extra="ignore")

    env: Literal["development", "production"] = Field("development", description="production demands the URLs")
    database_url: PostgresUrl = Field("", description="Postgres that holds facts and state")
    read_database_url: PostgresUrl = Field("", description="replica for answers of analytics; default: DATABASE_URL")
    redis_url: Annotated[str, AfterValidator(server_urls.redis)] = Field(
        "", description="Redis of arq: schedules and effects"
    )
    stream_url: Annotated[str, AfterValidator(server_urls.stream)] = Field(
        "", description="Redis of the log and the caches, or redis+cluster://host:port,…; default: REDIS_URL"
    )
    partitions: int = Field(8, ge=1, le=512, description="streams of the log; fixed at the first start")
    durability: Durability = Field("fsync", description="what an acknowledgement means: memory, fsync or replica")

    host: str = Field("127.0.0.1", description="address the API listens on")
    port: int = Field(8080, ge=0, le=65535, description="port of the API")
    public_url: PublicUrl = Field(
        "", description="address of the API in certificates and effects, like https://learn.example.com"
    )
    jwt_secret: str = Field("", description="HS256 secret of user tokens, 32 bytes at least")
    jwt_jwks_url: str = Field("", description="JWKS of the identity provider (RS256, ES256, EdDSA)")
    jwt_issuer: str = Field("", description="demanded `iss`, when set")
    jwt_audience: str = Field("", description="demanded `aud`, when set")
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        (), description="origins that browsers may call from, comma-separated; * for any"
    )
    rate_limit_ingest: Rate = Field("", description="actions requests per key or user, like 6000/minute; empty: none")
    rate_limit_read: Rate = Field("100/minute", description="reads of progress per key or user")
    rate_limit_update: Rate = Field("50/minute", description="progress updates per key or user")
    rate_limit_usage: Rate = Field("", description="usage requests per key or user; empty: none")
    live_connections: int = Field(2000, ge=0, description="open streams of GET /v1/live in one API process")
    key_cache_seconds: float = Field(5.0, ge=0, description="how long a service key is believed before it is re-read")

    graphql_depth: int = Field(10, ge=3, le=100, description="levels of fields that a GraphQL document may have")
    graphql_cost: int = Field(5000, ge=100, description="fields that a GraphQL answer may have, about")
    graphql_introspection: Literal["auto", "on", "off"] = Field(
        "auto", description="whether GraphQL tells its schema and serves GraphiQL; auto: outside production"
    )

    shed_above: float = Field(
        0.2, ge=0, description="p95 in seconds of unwaited writes above which clicks and metrics are shed; 0: never"
    )
    backlog_limit: int = Field(1 << 30, ge=1 << 16, description="bytes of unapplied actions before 503")
    batch_actions: int = Field(10_000, ge=1, le=50_000, description="actions applied in one transaction, about")
    drain_connections: int = Field(4, ge=1, le=64, description="Postgres connections of one worker's drain")
    apply_timeout: float = Field(30.0, gt=0, description="seconds after which a batch is given up and tried again")
    dedupe_days: int = Field(7, ge=7, le=90, description="days in which a repeated id counts once")
    retention_days: int = Field(90, ge=8, description="days that facts are kept")
    statement_cache_size: int = Field(100, ge=0, description="0 behind pgbouncer before 1.21 in transaction mode")

    nats_url: str = Field("", description="NATS for effects and look-ups; several addresses separated by commas")
    lookup_timeout: float = Field(1.0, gt=0, le=30, description="seconds that a look-up over NATS may take")
    analytics_url: str = Field("", description="analytics service that takes Segment's HTTP API")
    analytics_key: str = Field("", description="its write key")
    analytics_types: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        (), description="types of effects for it beside those that begin with first_, like usage.*,certificate.issued"
    )
    webhook_allow: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_allowed)] = Field(
        (), description="networks and hosts inside the house that webhooks may go to, like 10.0.0.0/8,hooks.internal"
    )
    webhook_timeout: float = Field(15.0, ge=1, le=60, description="seconds that one try of a delivery may take")
    effect_retention_days: int = Field(30, ge=1, description="days that delivered and discarded effects are kept")

    log_format: Literal["auto", "console", "json"] = Field("auto", description="auto: json in production")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    metrics_port: int = Field(0, ge=0, le=65535, description="port of the worker's own /metrics; 0: none")

    @model_validator(mode="after")
    def _demand(self) -> Settings:
        if self.env == "production" and not (self.database_url and self.redis_url):
            raise ValueError("production needs MILEPOST_DATABASE_URL and MILEPOST_REDIS_URL")
        if self.jwt_secret and len(self.jwt_secret.encode()) < 32:
            raise ValueError("MILEPOST_JWT_SECRET needs 32 bytes at least")
        if self.analytics_url and not self.analytics_key:
            raise ValueError("MILEPOST_ANALYTICS_URL needs MILEPOST_ANALYTICS_KEY")
        if self.retention_days <= self.dedupe_days:
            raise ValueError("MILEPOST_RETENTION_DAYS must be more than MILEPOST_DEDUPE_DAYS, whose ids the days hold")
        return self

    @property
    def introspects(self) -> bool:
        """Whether GraphQL tells its schema."""
        return self.graphql_introspection == "on" or (self.graphql_introspection == "auto" and self.env != "production")

    @property
    def log_url(self) -> str:
        """The Redis that holds the streams and the caches."""
        return self.stream_url or self.redis_url


@lru_cache(maxsize=1)
def load() -> Settings:
    """Read the settings once; a wrong one ends the process with one clear line for each and exit code 2."""
    try:
        return Settings()
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(["MILEPOST", *map(str, problem["loc"])]).upper()
            sys.stderr.write(
                f"{name if problem['loc'] else 'settings'}: {problem['msg'].removeprefix('Value error, ')}\n"
            )
        sys.exit(2)


def stop(line: str, code: int = 2) -> NoReturn:
    """End the process with one clear line on stderr, and no traceback."""
    sys.stderr.write(f"{line}\n")
    sys.exit(code)
