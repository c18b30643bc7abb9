"""One open GET /v1/live: what it still has to be sent, and how far it has come with each of its subjects."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from aiohttp import web

from api.live import event_stream
from db.stream import START, Position

Reason = Literal["gone", "slow", "expired", "closing", "fault"]
"""Why a stream ended: the client left, read too slowly, may listen no longer; this process stops; our mistake."""

BUFFER_BYTES: Final = 1 << 20
"""How far a reader may be behind, its socket aside, when more comes; who is slower is cut off, and resumes."""


class Listener:
    """Made by api/live/audience.py, which pushes; the handler takes and writes."""

    def __init__(self, request: web.Request, subjects: Sequence[str]) -> None:
        self.owner = subjects[0]
        """Who is counted: the user, where there is one."""
        self.positions: dict[str, Position | None] = dict.fromkeys(subjects)
        """Where it is with each subject; None until its beginning has been sent."""
        self.ended: Reason | None = None
        self.writing = False
        self._request = request
        self._pending: list[bytes] = []
        self._size = 0
        self._wake = asyncio.Event()

    @property
    def id(self) -> str:
        """The positions as one text, that grows with each of them: `1763712000000-0_1763712000001-3`."""
        return "_".join(str(position or START) for position in self.positions.values())

    @property
    def gone(self) -> bool:
        """Whether the client has left."""
        transport = self._request.transport
        return transport is None or transport.is_closing()

    def push(self, subject: str, entries: Iterable[tuple[Position, bytes]]) -> None:
        """Events of a subject, in order; those that it had are left out."""
        held = self.positions[subject]
        if held is None or self._is_behind():
            return
        for position, event in entries:
            if position > held:
                self.positions[subject] = held = position
                self._add(event + event_stream.last_id(self.id) if event else b"")

    def begin(self, subject: str, position: Position, events: Iterable[bytes]) -> None:
        """The state of a subject as it is, and from where on it changes. Only its end has an id: all of it or none."""
        self.positions[subject] = position
        if not self._is_behind():
            self._add(b"".join(event + b"\n" for event in events) + event_stream.last_id(self.id))

    def end(self, reason: Reason) -> None:
        """Nothing more is sent; a write that hangs is broken off."""
        if self.ended is None:
            self.ended = reason
        self._wake.set()
        if self.writing and self._request.transport is not None:
            self._request.transport.abort()

    async def take(self, seconds: float) -> bytes:
        """What is to be written now; nothing when the time is over, or when it has ended."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            return b""
        if self.ended is not None:
            return b""
        self._wake.clear()
        taken, self._pending, self._size = b"".join(self._pending), [], 0
        return taken

    def _is_behind(self) -> bool:
        """Whether it has not taken what came before; what one read brings, it may always take."""
        if self._size > BUFFER_BYTES:
            self.end("slow")
        return self.ended is not None

    def _add(self, part: bytes) -> None:
        if part:
            self._pending.append(part)
            self._size += len(part)
            self._wake.set()


def positions(text: str, subjects: Sequence[str]) -> Mapping[str, Position]:
    """What `Listener.id` said; nothing of it when it is of other subjects, or none of ours."""
    try:
        found = [Position.parse(part) for part in text.split("_", 2)]
    except ValueError:
        return {}
    return dict(zip(subjects, found, strict=True)) if len(found) == len(subjects) else {}
