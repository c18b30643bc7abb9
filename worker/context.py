"""What arq hands to every scheduled job."""

from __future__ import annotations

from typing import TypedDict

import asyncpg
from arq.connections import ArqRedis
from redis.asyncio import Redis

from db.settings import Settings
from jobs.courses.lookups import Lookups


class Context(TypedDict):
    """What every job gets."""

    pool: asyncpg.Pool
    """connections of the drain's pool"""
    settings: Settings
    """this process's settings"""
    log: Redis
    """the Redis of the log"""
    redis: ArqRedis
    """arq's own client, set by arq"""
    lookups: Lookups | None
    """asks other services for lessons and courses; None without NATS"""
