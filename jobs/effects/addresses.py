"""Where webhooks may go: to public addresses, and to what MILEPOST_WEBHOOK_ALLOW names.

The address is judged where the socket is made, so that it is the one connected to: whatever a name says a moment later,
and whatever spelling of an address stood in the URL.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from db import allowed
from db.allowed import Network
from db.settings import Settings

Address = IPv4Address | IPv6Address

RESOLVE_SECONDS: Final = 5.0
# RFC 6890 and what came after it; the last is where a cloud's hosts ask for their own secrets.
_NOT_PUBLIC: Final[tuple[Network, ...]] = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)
# Everything else of IPv6 is loopback, link-local, unique local, multicast, or an IPv4 address in disguise.
_GLOBAL_V6: Final = IPv6Network("2000::/3")


class Forbidden(OSError):
    """The address is none that webhooks may go to."""

    def __init__(self, message: str) -> None:
        super().__init__(errno.EACCES, message)

    def __str__(self) -> str:
        return str(self.strerror)


def is_public(address: Address) -> bool:
    """Whether an address is one of the open internet, and not another one in disguise."""
    if isinstance(address, IPv6Address) and (address not in _GLOBAL_V6 or address.scope_id):
        return False
    return not any(address in network for network in _NOT_PUBLIC if network.version == address.version)


class Guard(AbstractResolver):
    """Resolves names, and makes sockets to permitted addresses only: the `resolver` and `socket_factory` of aiohttp."""

    def __init__(self, allow: Sequence[str] = ()) -> None:
        self.networks, self.hosts = allowed.parse(allow)
        self._named: set[str] = set()
        self._resolver: ThreadedResolver | None = None

    def permits(self, address: str) -> bool:
        """Whether a socket may be made to an address, as text; what is no address is not one."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return is_public(found) or address in self._named or any(found in one for one in self.networks)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """What a name stands for; Forbidden when nothing of it is permitted."""
        self._resolver = self._resolver or ThreadedResolver()
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await self._resolver.resolve(host, port, family)
        except UnicodeError as error:
            raise OSError(f"{host} is no name") from error
        if host.lower().rstrip(".") in self.hosts:
            self._named.update(one["host"] for one in found)
        permitted = [one for one in found if self.permits(one["host"])]
        if not permitted:
            raise Forbidden(f"{host} is at {', '.join(one['host'] for one in found[:3])}, where webhooks may not go")
        return permitted

    async def check(self, host: str) -> None:
        """Refuse a host before anything is sent to it. Raises Forbidden; OSError when there is no such host."""
        if ":" in host or host.replace(".", "").isdigit():
            if not self.permits(host):
                raise Forbidden(f"webhooks may not go to {host}")
            return
        await self.resolve(host, 0, socket.AF_UNSPEC)

    def socket(self, info: tuple[int, int, int, str, tuple[str | int, ...]]) -> socket.socket:
        """A socket for one address; Forbidden when it is not permitted."""
        family, sort, protocol, _, address = info
        if not self.permits(str(address[0])):
            raise Forbidden(f"webhooks may not go to {address[0]}")
        return socket.socket(family, sort, protocol)

    async def close(self) -> None:
        """Nothing is kept open."""


def guard(settings: Settings) -> Guard:
    """The guard that these settings ask for."""
    return Guard(settings.webhook_allow)
