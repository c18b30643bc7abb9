"""Where a command of Redis Cluster belongs: the URL of a cluster, the key of a command, the slot of a key."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from db import keys

Address = tuple[str, int]
Queued = tuple[tuple[Any, ...], Mapping[str, Any]]
"""A command as redis-py queues it: what is sent, and how the answer is read."""

NUMBER: Final = REDIS_CLUSTER_HASH_SLOTS
SCHEMES: Final = ("redis+cluster://", "rediss+cluster://")
_ANYWHERE: Final = frozenset(("PUBLISH", "PING", "TIME"))
_EVERYWHERE: Final = frozenset(("SCAN", "KEYS", "DBSIZE", "FLUSHDB", "FLUSHALL", "INFO", "CONFIG GET", "CONFIG SET"))


_PARTS: Final = re.compile(r"(.*?)://([^/?#]*)(.*)", re.DOTALL)


def speaks(url: str) -> bool:
    """Whether this URL names a cluster: redis+cluster://[user:password@]host:port,host:port,…"""
    return url.startswith(SCHEMES)


def parse(url: str) -> tuple[list[Address], Callable[[Address], str]]:
    """The addresses to begin with, and the URL of a node by its address. Raises ValueError."""
    # Newer patch releases of Python refuse a bracket behind other hosts: urlsplit gets the rest alone.
    scheme, netloc, rest = _PARTS.fullmatch(url).groups()  # type: ignore[union-attr]
    parts = urlsplit(f"{scheme}://{rest}")
    user, at, hosts = netloc.rpartition("@")
    seeds = [(one.hostname or "", one.port or 6379) for one in (urlsplit(f"//{host}") for host in hosts.split(","))]
    if not all(host for host, _ in seeds) or parts.path.strip("/") not in ("", "0"):
        raise ValueError("a cluster looks like redis+cluster://host:port,host:port and has no databases")
    query = f"?{parts.query}" if parts.query else ""

    def node(address: Address) -> str:
        host, port = address
        shown = f"[{host}]" if ":" in host else host
        return f"{parts.scheme.removesuffix('+cluster')}://{user}{at}{shown}:{port}/0{query}"

    return seeds, node


def of_key(name: str | bytes) -> int:
    """The slot of a key; of its hash tag, if it has one."""
    return int(key_slot(name.encode() if isinstance(name, str) else name))


def of_partition(partition: int) -> int:
    """The slot of all that is kept of a partition."""
    return of_key(keys.actions(partition))


def of_commands(commands: Iterable[Queued]) -> Iterable[int]:
    """The slot of each; one without a key goes where the one before it went."""
    slot = random.randrange(NUMBER)
    for args, _ in commands:
        named = key(args)
        if named is not None:
            slot = of_key(named)
        yield slot


def key(args: tuple[Any, ...]) -> str | bytes | None:
    """The first key of a command; its others are on the same slot. None: it has none, and may run anywhere."""
    name = args[0]
    if name in ("EVAL", "EVALSHA"):
        return args[3] if int(args[2]) else None
    if name == "XREAD":
        at = next(index for index, one in enumerate(args) if one in (b"STREAMS", "STREAMS"))
        return args[at + 1]  # type: ignore[no-any-return]
    if name in _ANYWHERE:
        return None
    if name in _EVERYWHERE:
        raise ValueError(f"{name} is a question to each node of a cluster")
    return args[1]  # type: ignore[no-any-return]
