"""A TCP proxy in front of a server, which can cut the line in the ways in which lines are cut."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import Final, Literal, cast

Cut = Literal["refuse", "reset", "silent", "delay"]
CUTS: Final[tuple[Cut, ...]] = ("refuse", "reset", "silent", "delay")
"""refuse: nobody listens, what was open is reset · reset: what is open is reset, new connections work · silent: what is
open, and what is opened meanwhile, stays open and never says anything again · delay: every chunk comes late."""

DELAY: Final = 0.4
FOUND_DEAD: Final = 20.0
"""Seconds until the ends of a silent connection are closed, as TCP keepalives would; longer than any time-out of a
transaction that idles."""
_RESET: Final = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards a port of its own to `port` of 127.0.0.1."""

    def __init__(self, port: int) -> None:
        """Nothing listens yet."""
        self.target = port
        self.port = 0
        self.delay = 0.0
        self.mute = False
        self.found_dead = FOUND_DEAD
        self.lines: set[_Line] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen: on a free port at first, on the same one afterwards."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Near(self), "127.0.0.1", self.port, reuse_address=True, backlog=512
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self, how: Cut, seconds: float) -> None:
        """Cut the line, wait, and mend it. Connections that went silent stay so."""
        await self.begin(how)
        try:
            await asyncio.sleep(seconds)
        finally:
            await self.mend()

    async def begin(self, how: Cut) -> None:
        """Cut the line until `mend`."""
        if how == "refuse":
            self._close()
        if how in {"refuse", "reset"}:
            for line in list(self.lines):
                line.reset()
        elif how == "silent":
            self.mute = True
            for line in list(self.lines):
                line.silence()
        elif how == "delay":
            self.delay = DELAY

    async def mend(self) -> None:
        """New connections work, whatever was cut."""
        self.delay, self.mute = 0.0, False
        if self._server is None:
            await self.start()

    async def stop(self) -> None:
        """Nobody listens any more, and nothing is open."""
        self._close()
        for line in list(self.lines):
            line.reset()

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


class _Line:
    """One connection: the client's end and the server's."""

    def __init__(self, proxy: Proxy, near: _Near) -> None:
        self.proxy, self.near, self.far = proxy, near, _Far(self)
        self.dead = False
        proxy.lines.add(self)

    async def connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.far, "127.0.0.1", self.proxy.target)
        except OSError:
            self.reset()

    def silence(self) -> None:
        """Neither end hears anything from here on, not even that the other one has gone."""
        if not self.dead:
            self.dead = True
            for end in (self.near, self.far):
                end.pause()
            asyncio.get_running_loop().call_later(self.proxy.found_dead, self.reset)

    def reset(self) -> None:
        """Both ends get a RST."""
        self.dead = True
        self.proxy.lines.discard(self)
        for end in (self.near, self.far):
            end.abort()

    def lost(self) -> None:
        """One end has closed: so does the other."""
        if not self.dead:
            self.dead = True
            self.proxy.lines.discard(self)
            for end in (self.near, self.far):
                end.finish()


class _End(asyncio.Protocol):
    """One end of a line; what it receives goes to the other one, in order, late when the line is slow."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.line: _Line | None = None
        self._waiting: deque[bytes] = deque()
        self._early = b""

    @property
    def other(self) -> _End | None:
        return None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self.line is not None and self.line.dead:
            self.pause()

    def data_received(self, data: bytes) -> None:
        assert self.line is not None
        if self.line.proxy.delay or self._waiting:
            self._waiting.append(data)
            asyncio.get_running_loop().call_later(self.line.proxy.delay or DELAY, self._late)
        else:
            self._pass(data)

    def connection_lost(self, exc: Exception | None) -> None:
        assert self.line is not None
        self.line.lost()

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.pause()

    def resume_writing(self) -> None:
        if self.other is not None and self.line is not None and not self.line.dead:
            self.other.resume()

    def pause(self) -> None:
        if self.transport is not None and self.transport.is_reading():
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def abort(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()

    def finish(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()

    def _late(self) -> None:
        self._pass(self._waiting.popleft())

    def _pass(self, data: bytes) -> None:
        other = self.other
        if other is None or self.line is None or self.line.dead:
            return
        if other.transport is None:  # the server's end is being connected
            self._early += data
        else:
            other.transport.write(data)

    def pass_early(self) -> None:
        """What came before the other end was there."""
        if self._early:
            early, self._early = self._early, b""
            self._pass(early)


class _Near(_End):
    """The client's end: it waits until the server's end is there."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__()
        self._proxy = proxy
        self._connecting: asyncio.Task[None] | None = None

    @property
    def other(self) -> _End | None:
        return self.line.far if self.line else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.line = _Line(self._proxy, self)
        self.pause()
        if self._proxy.mute:
            self.line.silence()
        else:
            self._connecting = asyncio.get_running_loop().create_task(self.line.connect())


class _Far(_End):
    """The server's end."""

    def __init__(self, line: _Line) -> None:
        super().__init__()
        self.line = line

    @property
    def other(self) -> _End | None:
        return self.line.near if self.line else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.line is not None
        if not self.line.dead:
            self.line.near.pass_early()
            self.line.near.resume()
        elif self.line not in self.line.proxy.lines:  # reset meanwhile
            self.abort()
