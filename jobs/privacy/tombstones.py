"""Who was erased, as digests: nothing that comes later, or lay in the log, brings them back.

A digest is keyed, with a key of the installation: a receipt does not tell whose it is to who can only guess ids.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from hashlib import blake2b
from typing import Final

import asyncpg
import msgspec

from db import sql
from jobs.action import Action

QUERIES: Final = sql.read("privacy")
REMEMBERED: Final = 20_000
"""Names for each partition."""
_BYTES: Final = 16


class Erased:
    """The tombstones as a worker holds them. `version` is the `partitions.erased` that they were read at."""

    __slots__ = ("_digests", "_key", "_known", "version")

    def __init__(self, version: int = 0, key: bytes = b"", digests: Iterable[bytes] = ()) -> None:
        self.version, self._key, self._digests = version, key, frozenset(digests)
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._digests)

    def cleared(self, action: Action) -> Action | None:
        """The action as it may be applied: None when it is of somebody erased.

        What happens to an organisation is its own: it is applied without the name.
        """
        if not any(map(self._holds, whose(action))):
            return action
        if action.subject.startswith("org:"):
            return msgspec.structs.replace(action, user_id=None, anonymous_id=None)
        return None

    def _holds(self, name: str) -> bool:
        """A digest takes 3 us: of those who act now the answer is remembered."""
        held = self._known.get(name)
        if held is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            held = self._known[name] = digest(self._key, name) in self._digests
        return held


def whose(action: Action) -> tuple[str, ...]:
    """Who an action is of: its user; without one its anonymous id and its session."""
    if action.user_id is not None:
        return ("user:" + action.user_id,)
    subject = action.subject
    own = (subject,) if subject.startswith(("user:", "session:")) else ()
    return own if action.anonymous_id is None else (*own, "anonymous:" + action.anonymous_id)


def digest(key: bytes, name: str) -> bytes:
    """Of a name like `user:ann`, `anonymous:7`, `session:s`."""
    return blake2b(name.encode(), key=key, digest_size=_BYTES).digest()


async def load(conn: asyncpg.Connection, version: int) -> Erased:
    """As they stand; under the lock of the partition that `version` is of."""
    key = await conn.fetchval(QUERIES["privacy_key"])
    return Erased(version, key, (row["digest"] for row in await conn.fetch(QUERIES["load_tombstones"])))


async def add(
    conn: asyncpg.Connection, names: Iterable[str], partitions: Iterable[int], until: datetime | None = None
) -> None:
    """Keep these out, in partitions that the caller has locked."""
    key = await conn.fetchval(QUERIES["privacy_key"])
    await conn.execute(QUERIES["add_tombstones"], sorted(digest(key, name) for name in names), until)
    await conn.execute(QUERIES["move_erased"], list(partitions))
