"""The guard around an ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from milepost_client.client import Subject
from milepost_client.hold import Away, Denied, Guard, Held

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Use:
    """What a request uses, and whose."""

    action: str
    subject: Subject
    quantity: int = 1
    ttl: int = 300


class Metered:
    """Middleware: hold before the application, commit before the last part of an answer below 400, else release.

    `use(scope)` says what a request uses; None: nothing. `scope["milepost.held"]` is what the application holds.
    """

    def __init__(self, app: App, guard: Guard, use: Callable[[Scope], Use | None]) -> None:
        self.app, self.guard, self.use = app, guard, use

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        use = self.use(scope) if scope["type"] == "http" else None
        if use is None:
            await self.app(scope, receive, send)
            return
        size = _content_length(scope)
        try:
            held = await self.guard.hold(use.action, use.subject, use.quantity, ttl=use.ttl, file_size=size)
        except (Denied, Away) as refused:
            await _answer(send, refused)
            return
        scope["milepost.held"] = held
        await self._run(scope, receive, send, held)

    async def _run(self, scope: Scope, receive: Receive, send: Send, held: Held) -> None:
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body" and not message.get("more_body") and status < 400:
                held.commit()
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            held.release()  # does nothing after a commit


def _content_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name.lower() == b"content-length" and value.isdigit():
            return int(value)
    return None


async def _answer(send: Send, refused: Denied | Away) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(refused.body)).encode())]
    if isinstance(refused, Away):
        headers.append((b"retry-after", b"2"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": refused.body})
