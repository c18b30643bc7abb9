"""A part of a quota, held before something is done: asked for once, within a bounded time, then committed or released.

Only `hold` speaks with Milepost. A commit goes into the spool before the caller answers, and from there to Milepost.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass
from typing import Any, Final, Literal

import aiohttp

from milepost_client.client import Client, Subject, new_id, now
from milepost_client.door import parse

logger = logging.getLogger("milepost")

Outage = Literal["open", "closed"]
DENIALS: Final = {(429, "plan_limit_exceeded"), (403, "feature_not_in_plan"), (413, "file_too_large")}
"""What is a decision of Milepost about the subject; any other refusal is about the caller, and decides nothing."""
TRIPS: Final = 3
REST_SECONDS: Final = 2.0
"""After so many calls without a decision one after the other, nobody asks for so long."""


class Denied(Exception):
    """No. `status` and `body` are Milepost's, for whoever asked: the body names the plan that would help."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status} {body[:200]!r}")
        self.status, self.body = status, body


class Away(Exception):
    """Milepost did not decide in time, and the guard fails closed. `status` and `body` say so."""

    status: Final = 503
    body: Final = json.dumps(
        {"error": {"code": "usage_unavailable", "message": "the quota cannot be checked now: try again"}}
    ).encode()


@dataclass(slots=True)
class Held:
    """A reservation, or, when Milepost did not decide and the guard fails open, the promise to count later."""

    client: Client
    subject: Subject
    action: str
    quantity: int
    id: str
    """The reservation's, and of our own making: a second try of the same request is the same reservation."""
    decided: bool
    at: str
    metadata: dict[str, Any] | None = None
    _over: bool = False

    def commit(self, quantity: int | None = None) -> None:
        """Use it, or less of it. Counted once: as a commit, or, if the reservation is gone, as what was used `at`.

        Once this returns it is in the spool. The first of `commit` and `release` holds, later ones do nothing.
        ValueError: more than is held, or less than 0.
        """
        used = self.quantity if quantity is None else quantity
        if not 0 <= used <= self.quantity:
            raise ValueError(f"{used} of {self.quantity} that are held")
        if not used:
            self.release()
        if self._over:
            return
        self._over = True
        more = {} if self.metadata is None else {"metadata": self.metadata}
        recorded = self._action("usage.recorded", "late", {"action": self.action, "quantity": used, **more})
        self.client.settle(
            self._action("usage.committed", "commit", {"reservationId": self.id, "quantity": used}), recorded
        )

    def release(self) -> None:
        """Give it back. If this never arrives, the reservation's `ttl` gives it back."""
        if not self._over:
            self._over = True
            action = self._action("usage.released", "release", {"reservationId": self.id})
            self.client.track(action["kind"], self.subject, action["data"], id=action["id"])
            self.client.hurry()

    def _action(self, kind: str, suffix: str, data: dict[str, Any]) -> dict[str, Any]:
        return {"id": f"{self.id}.{suffix}", "kind": kind, "at": self.at, **self.subject.fields(), "data": data}


class Guard:
    """Asks Milepost before something is done."""

    def __init__(self, client: Client, *, outage: Outage = "open", timeout: float = 1.0) -> None:
        """`outage`: what happens when Milepost has not decided after `timeout` seconds, in all tries together.

        open: go on, and count afterwards, even over the limit. closed: Away.
        """
        self.client, self.outage, self.timeout = client, outage, timeout
        self._undecided, self._rests_until = 0, 0.0

    async def hold(
        self,
        action: str,
        subject: Subject,
        quantity: int = 1,
        *,
        ttl: int = 300,
        file_size: int | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Held:
        """Reserve. `ttl`: seconds that the work may take; `file_size` in bytes. Raises Denied, Away."""
        held = Held(self.client, subject, action, quantity, new_id(), decided=True, at=now(), metadata=metadata)
        body = {"id": held.id, "action": action, "quantity": quantity, "ttl": ttl, **subject.fields()}
        if file_size is not None:
            body["fileSize"] = file_size
        rests = time.monotonic() < self._rests_until
        try:
            held.decided = not rests and await self._decided(body)
        except asyncio.CancelledError:
            held.release()  # it may have been reserved
            raise
        if not held.decided and self.outage == "closed":
            if not rests:
                held.release()
            raise Away
        return held

    async def _decided(self, body: dict[str, Any]) -> bool:
        """Whether Milepost said yes; False: it did not decide. Raises Denied."""
        try:
            async with asyncio.timeout(self.timeout):
                why = await self._ask(json.dumps(body).encode())
        except TimeoutError:
            why = f"no decision within {self.timeout} s"
        if why is None:
            self._undecided = 0
            return True
        self._undecided += 1
        if self._undecided >= TRIPS:
            self._rests_until = time.monotonic() + REST_SECONDS
        logger.warning("Milepost did not decide about %s, failing %s: %s", body["action"], self.outage, why)
        return False

    async def _ask(self, body: bytes) -> str | None:
        """None: reserved; else why it was not decided. One second try, with the same id. Raises Denied."""
        why = await self._try(body)
        if why is not None and why.startswith("again"):
            await asyncio.sleep(min(0.1, self.timeout / 4))
            why = await self._try(body)
        return why

    async def _try(self, body: bytes) -> str | None:
        door = self.client.door
        if door is None:
            return "the client was not started"
        try:
            status, _, content = await door.post(
                f"/v1/usage/reserve?wait={self.timeout:.3f}", body, self.timeout, {"Content-Type": "application/json"}
            )
        except (aiohttp.ClientError, OSError) as error:
            return f"again: {type(error).__name__} {error}"
        answer = parse(content)
        if status == 200 and answer.get("allowed") is True:
            return None
        refused = answer.get("error")
        code = refused.get("code") if isinstance(refused, dict) else None
        if (status, code) in DENIALS:
            self._undecided = 0
            raise Denied(status, content)
        return f"{'again: ' if status >= 500 else ''}{status} {code}"
