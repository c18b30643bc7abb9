"""Where webhooks may go: every kind of address that is not public, in every disguise, judged on the very connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp.abc import ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from db import allowed
from jobs.effects import posting
from jobs.effects.addresses import Forbidden, Guard

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.255.255", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450::1"]
PRIVATE = [
    *("0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "169.254.169.254"),  # noqa: S104
    *("172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1"),
    *("198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "168.63.129.16"),
    *("::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1"),
    *("2001::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1"),
    *("fe80::1%eth0", "fec0::1", "ff02::1", "5f00::1"),
]
NONE = ["2130706433", "0x7f000001", "127.1", "0177.0.0.1", "localhost", "", "1.1.1.1 ", "١.1.1.1"]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_ones_are_permitted(address: str) -> None:
    assert Guard().permits(address)


@pytest.mark.parametrize("address", PRIVATE + NONE)
def test_all_others_are_not(address: str) -> None:
    assert not Guard().permits(address)


@given(st.ip_addresses(v=4))
def test_no_ipv4_in_disguise_is_permitted(address: object) -> None:
    guard = Guard()
    assert not guard.permits(f"::ffff:{address}")
    assert not guard.permits(f"64:ff9b::{address}")


def test_the_setting_permits_networks_and_hosts() -> None:
    guard = Guard(["127.0.0.0/8", "fd00::/8", "10.1.2.3", "Hooks.Internal."])
    assert all(guard.permits(one) for one in ("127.0.0.1", "fd00::1", "10.1.2.3", "8.8.8.8"))
    assert not any(guard.permits(one) for one in ("10.1.2.4", "::1", "192.168.0.1"))
    assert guard.hosts == {"hooks.internal"}


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "10.0.0.1/8", "a b", "http://a", "-a", "10.0.0", "", "a..b", "*"])
def test_what_is_neither_a_network_nor_a_host_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="is no network"):
        allowed.parse([entry])


class Rebinding(Guard):
    """A name server that says something else each time."""

    def __init__(self, *answers: str, allow: tuple[str, ...] = ()) -> None:
        super().__init__(allow)
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The next answer, unjudged: only the socket is in the way."""
        found = self.answers.pop(0)
        return [ResolveResult(hostname=host, host=found, port=port, family=socket.AF_INET, proto=0, flags=0)]


@asynccontextmanager
async def listener() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A port inside the house, and what came to it."""
    came: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(await reader.read(100))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], came


async def test_a_name_that_changes_its_mind_reaches_nobody() -> None:
    async with listener() as (port, came), posting.session(Rebinding("127.0.0.1")) as client:
        attempt = await posting.post(client, f"http://public.example:{port}/", b"{}", {}, 5)
    assert attempt.status is None
    assert attempt.error is not None
    assert "webhooks may not go to 127.0.0.1" in attempt.error
    assert came == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "127.1", "0x7f.1", "0177.0.0.1", "[::ffff:127.0.0.1]", "0", "[::1]"],
)
async def test_no_spelling_of_this_machine_is_reached(host: str) -> None:
    async with listener() as (port, came), posting.session(Guard()) as client:
        attempt = await posting.post(client, f"http://{host}:{port}/", b"{}", {}, 5)
    assert attempt.status is None
    assert came == []


async def test_a_permitted_one_is_reached() -> None:
    for allow in (["127.0.0.0/8"], ["localhost"]):
        async with listener() as (port, came), posting.session(Guard(allow)) as client:
            attempt = await posting.post(client, f"http://localhost:{port}/", b"{}", {}, 5)
            assert attempt.status == 200, attempt
            assert came


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "::1", "localhost", "2130706433", "169.254.169.254"])
async def test_the_check_before_anything_is_sent(host: str) -> None:
    with pytest.raises(Forbidden):
        await Guard().check(host)


async def test_a_host_that_does_not_exist() -> None:
    with pytest.raises(OSError, match=r".") as error:
        await Guard().check("nowhere.invalid")
    assert not isinstance(error.value, Forbidden)
