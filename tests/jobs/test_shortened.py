"""Addresses say which network, never who."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.privacy.addresses import shortened


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("192.0.2.77", "192.0.2.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("[2001:db8:1:2::6]", "2001:db8:1::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:192.0.2.77", "192.0.2.0"),
        ("::1", "::"),
    ],
)
def test_the_network_is_kept(address: str, kept: str) -> None:
    assert shortened(address) == kept


@given(st.ip_addresses())
def test_who_shares_a_network_shares_what_is_kept(address: IPv4Address | IPv6Address) -> None:
    kept = shortened(str(address))
    assert shortened(kept) == kept
    if address.version == 4:
        assert kept == f"{address}".rpartition(".")[0] + ".0"
    else:
        assert int(ip_address(kept)) & ((1 << 80) - 1) == 0 or kept.count(".") == 3


@given(st.text())
def test_whatever_else_stands_there_is_not_kept(text: str) -> None:
    kept = shortened(text, b"k")
    try:
        ip_address(text.partition("%")[0].strip("[]"))
    except ValueError:
        assert kept.startswith("host-")
        assert len(kept) == 21
        assert kept != shortened(text, b"another")
