"""What MILEPOST_WEBHOOK_ALLOW may hold: networks and host names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network

Network = IPv4Network | IPv6Network
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


def parse(entries: Iterable[str]) -> tuple[tuple[Network, ...], frozenset[str]]:
    """Networks and host names, in lower case; ValueError for what is neither."""
    networks: list[Network] = []
    hosts: set[str] = set()
    for entry in entries:
        try:
            networks.append(ip_network(entry))
        except ValueError:
            name = entry.lower().rstrip(".")
            if not _HOST.fullmatch(name) or name[-1].isdigit():
                raise ValueError(f"{entry!r} is no network like 10.0.0.0/8 and no name of a host") from None
            hosts.add(name)
    return tuple(networks), frozenset(hosts)
