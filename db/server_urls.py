"""URLs of servers, held against what can be connected to: a wrong one ends a start, a server that is away does not.

No message repeats a part of a URL: it may be one of the password.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from redis.asyncio import Redis
from redis.exceptions import RedisError

from db import slots

_POSTGRES: Final = re.compile(r"postgres(?:ql)?://([^/?#]*)", re.DOTALL)
_SSLMODES: Final = dict.fromkeys(("disable", "allow", "prefer", "require", "verify-ca", "verify-full"))
_ESCAPED: Final = "special characters of a password are written like %40"


def postgres(url: str) -> str:
    """postgresql://[user[:password]@][host[:port],…][/database][?sslmode=…]; or nothing. Raises ValueError."""
    if url and not _is_postgres(url):
        raise ValueError(f"a database looks like postgresql://user:password@host:5432/name; {_ESCAPED}")
    if not {value for name, value in parse_qsl(url.partition("?")[2]) if name == "sslmode"} <= _SSLMODES.keys():
        raise ValueError(f"sslmode is one of {', '.join(_SSLMODES)}")
    return url


def redis(url: str) -> str:
    """redis://, rediss:// or unix://, of one server; or nothing. Raises ValueError."""
    if slots.speaks(url):
        raise ValueError("arq speaks to one Redis: name a plain one here, and the cluster in MILEPOST_STREAM_URL")
    if url and not _is_redis(url):
        raise ValueError(f"a Redis looks like redis://:password@host:6379/0, rediss:// or unix://; {_ESCAPED}")
    return url


def stream(url: str) -> str:
    """The same, or redis+cluster:// with several servers. Raises ValueError."""
    if not slots.speaks(url):
        return redis(url)
    seeds, node = slots.parse(url)
    redis(node(seeds[0]))
    return url


def _is_postgres(url: str) -> bool:
    found = _POSTGRES.match(url)
    try:
        # A port that is no number raises when it is read.
        return found is not None and all(urlsplit(f"//{host}").port != 0 for host in _hosts(found[1]))
    except ValueError:
        return False


def _hosts(netloc: str) -> list[str]:
    return netloc.rpartition("@")[2].split(",")


def _is_redis(url: str) -> bool:
    try:
        Redis.from_url(url).connection_pool.make_connection()
    except ValueError:
        return False
    # The last two: what redis-py makes of a `retry` that is text, and of a `protocol` that is no number.
    except (TypeError, RedisError, AttributeError, NameError):
        raise ValueError("behind the ? of a Redis URL stands what redis-py's connections do not take") from None
    return True
