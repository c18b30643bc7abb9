"""A small identity provider: keys of every family, tokens signed by them, and its key set over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

FAMILIES: dict[str, Any] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


def private_key(algorithm: str) -> Any:
    """A new key."""
    if algorithm == "RS256":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else ed25519.Ed25519PrivateKey.generate()


def claims(**changes: Any) -> dict[str, Any]:
    """Claims of a good token; None takes one away."""
    given = {"sub": "user-1", "exp": int(time.time()) + 600} | changes
    return {name: value for name, value in given.items() if value is not None}


@dataclass
class Provider:
    """What it has published, and how often it was asked."""

    url: str = ""
    keys: dict[str, tuple[str, Any]] = field(default_factory=dict)
    more: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200
    asked: int = 0

    def add(self, kid: str, algorithm: str) -> None:
        """Publish a new key."""
        self.keys[kid] = algorithm, private_key(algorithm)

    def sign(self, kid: str, headers: dict[str, Any] | None = None, **changes: Any) -> str:
        """A token signed by that key."""
        algorithm, key = self.keys[kid]
        return jwt.encode(claims(**changes), key, algorithm, headers={"kid": kid} | (headers or {}))

    async def answer(self, _: web.Request) -> web.Response:
        """The key set."""
        self.asked += 1
        published = [
            json.loads(FAMILIES[algorithm].to_jwk(key.public_key())) | {"kid": kid}
            for kid, (algorithm, key) in self.keys.items()
        ]
        return web.json_response({"keys": published + self.more}, status=self.status)


@asynccontextmanager
async def provider(*algorithms: str) -> AsyncIterator[Provider]:
    """One that runs, with a key named after each algorithm."""
    found = Provider()
    for algorithm in algorithms:
        found.add(algorithm, algorithm)
    app = web.Application()
    app.router.add_get("/keys", found.answer)
    async with TestServer(app) as server:
        found.url = str(server.make_url("/keys"))
        yield found
