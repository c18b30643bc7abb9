"""Internet addresses as they may be kept: of a network, not of a person."""

from __future__ import annotations

from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, Literal, get_args

Addresses = Literal["hidden", "shortened", "kept"]
WAYS: Final[tuple[Addresses, ...]] = get_args(Addresses)
V4_BITS: Final = 24
V6_BITS: Final = 48


def private(address: str, way: Addresses, key: bytes) -> str:
    """An address as it is sent on: hidden behind a keyed digest that tells addresses apart, its network, or itself."""
    if way == "kept":
        return address
    return shortened(address, key) if way == "shortened" else "ip-" + _digest(address, key)


def _digest(text: str, key: bytes) -> str:
    return blake2b(text.encode(errors="replace"), key=key, digest_size=8).hexdigest()


def shortened(address: str, key: bytes = b"") -> str:
    """The first 24 bits of an IPv4 address, 48 of an IPv6 one, the rest zero: `192.0.2.0`, `2001:db8:1::`.

    What is no address, like a host name, becomes a digest with `key`, since nobody knows what part of it means whom.
    """
    try:
        # A zone like %eth0 says which card it came in at.
        found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0].strip("[]"))
    except ValueError:
        return "host-" + _digest(address, key)
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    bits = V4_BITS if found.version == 4 else V6_BITS
    return str(ip_network((found, bits), strict=False).network_address)
