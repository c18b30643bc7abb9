"""Ports to listen on, and whether somebody answers there."""

import asyncio
import errno
import random
import socket

import aiohttp

from db.server import StartError

# Below the range from which the kernel takes ports for outgoing connections: a kept port stays free over a restart.
PORTS = range(20_000, 32_000)
_given: set[int] = set()
PATIENCE = 1.0  # seconds: the API of a supervisor killed a moment ago may still hold it


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def free() -> int:
    """A port of 127.0.0.1 that nothing listens on, each once: who was given one may not listen yet."""
    found = next(port for port in random.sample(PORTS, len(PORTS)) if port not in _given and is_free(port))
    _given.add(found)
    return found


async def check(host: str, port: int) -> None:
    """StartError if the API could not listen there."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        try:
            family, _, _, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
            return socket.create_server((str(address[0]), port), family=family).close()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise StartError(f"the API cannot listen on {host}:{port}: {error.strerror}") from error
            if loop.time() > deadline:
                raise StartError(f"port {port} is in use: choose another one, as in make up PORT=9000") from error
        await asyncio.sleep(0.05)


async def answers(url: str, seconds: float) -> bool:
    """Whether a GET is answered with 200 within the time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        while loop.time() < deadline:
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return True
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.1)
    return False
