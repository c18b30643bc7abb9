"""User tokens: what is believed, and what is not."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from api.auth.jwks import Jwks
from api.auth.jwt_tokens import Tokens
from api.errors import Problem
from db.settings import Settings
from jobs.action import Sender
from tests.api.identity_provider import Provider, claims, private_key, provider

SECRET = "a secret of tests, 32 bytes or more"


def tokens(**settings: Any) -> Tokens:
    return Tokens(Settings(_env_file=None, jwt_secret=SECRET, **settings))


def sign(headers: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), SECRET, "HS256", headers=headers)


def raw(header: object, payload: object, signature: str = "") -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, payload))
    return ".".join((*parts, signature))


def own(header: dict[str, Any], secret: str) -> str:
    """Signed by hand: no library refuses to."""
    signing = raw(header, claims())[:-1]
    signature = hmac.digest(secret.encode(), signing.encode(), "sha256")
    return f"{signing}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


async def code_of(verifier: Tokens, token: str) -> str:
    with pytest.raises(Problem) as refused:
        await verifier.verify(token)
    assert refused.value.status == (503 if refused.value.code == "keys_unavailable" else 401)
    assert ("WWW-Authenticate" in refused.value.headers) == (refused.value.status == 401)
    return refused.value.code


@pytest.fixture
async def idp() -> AsyncIterator[Provider]:
    async with provider("RS256", "ES256", "EdDSA") as found:
        yield found


async def test_a_good_token() -> None:
    expires = int(time.time()) + 100
    sender, until = await tokens().verify(sign(exp=expires, org_id="org-1", nbf=int(time.time())))
    assert sender == Sender("user:user-1", "user", frozenset(("ingest", "read")), "user-1", "org-1")
    assert until == expires


@pytest.mark.parametrize(
    ("claim", "role"),
    [
        ({"scope": "openid admin"}, "admin"),
        ({"scope": ["admin"]}, "admin"),
        ({"permissions": ["x", "admin"]}, "admin"),
        ({"scope": "administrator admins no-admin"}, "user"),
        ({"permissions": "admin"}, "admin"),
        ({"scope": {"admin": True}}, "user"),
        ({"scope": 1, "permissions": [["admin"], None]}, "user"),
    ],
)
async def test_who_is_an_admin(claim: dict[str, Any], role: str) -> None:
    sender, _ = await tokens().verify(sign(**claim))
    assert (sender.role, sender.user_id) == (role, "user-1")
    assert sender.scopes == frozenset(("ingest", "read", "admin") if role == "admin" else ("ingest", "read"))


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 129},
        {"sub": "a\nb"},
        {"sub": "a\ud800"},
        {"sub": 7},
        {"sub": ["user-1"]},
        {"org_id": 7},
        {"org_id": ""},
        {"exp": None},
        {"exp": "soon"},
        {"exp": 1e400},
        {"exp": float("nan")},
        {"exp": []},
        {"nbf": int(time.time()) + 10**7},  # of when it was collected
        {"nbf": "later"},
    ],
    ids="-".join,
)
async def test_claims_that_are_refused(changes: dict[str, Any]) -> None:
    token = jwt.api_jws.PyJWS().encode(json.dumps(claims(**changes)).encode(), SECRET, "HS256")
    assert await code_of(tokens(), token) == "invalid_token"


@pytest.mark.parametrize("past", [0, 1, 1000, 10**12])
async def test_an_expired_token(past: int) -> None:
    assert await code_of(tokens(), sign(exp=int(time.time()) - past)) == "token_expired"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "x" * 9000,
        "a.b",
        "\ud800.b.c",
        "é.b.c",
        raw({"alg": "none"}, claims()),
        raw({"alg": "None"}, claims()),
        raw({"alg": "nOnE", "typ": "JWT"}, claims(), "x"),
        raw({"typ": "JWT"}, claims(), "AAAA"),
        raw({"alg": ["HS256"]}, claims(), "AAAA"),
        raw({"alg": "HS256", "kid": 7}, claims(), "AAAA"),
        raw(["HS256"], claims(), "AAAA"),
        raw({"alg": "HS256"}, ["user-1"], "AAAA"),
        raw({"alg": "HS256"}, claims(), "AAAA"),
        sign()[:-4] + "AAAA",
        sign(headers={"crit": ["exp"], "exp": 1}),
        sign(headers={"crit": ["b64"]}),
        own({"alg": "HS256", "crit": ["b64"], "b64": True}, SECRET),
        jwt.encode(claims(), "another secret, of 32 bytes or more", "HS256"),
        jwt.encode(claims(), SECRET * 2, "HS512"),
        base64.urlsafe_b64encode(b"[" * 4000).decode() + ".e30.AAAA",
    ],
    ids=lambda token: token[:24].encode("ascii", "backslashreplace").decode(),
)
async def test_tokens_that_are_refused(token: str) -> None:
    assert await code_of(tokens(), token) == "invalid_token"


async def test_without_a_secret_no_secret_is_right() -> None:
    verifier = Tokens(Settings(_env_file=None))
    assert await code_of(verifier, own({"alg": "HS256"}, "")) == "invalid_token"


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({"aud": "milepost", "iss": "us"}, True),
        ({"aud": ["x", "milepost"], "iss": "us"}, True),
        ({"aud": "x", "iss": "us"}, False),
        ({"iss": "us"}, False),
        ({"aud": "milepost"}, False),
        ({"aud": "milepost", "iss": "them"}, False),
        ({"aud": {"milepost": 1}, "iss": "us"}, False),
    ],
)
async def test_audience_and_issuer(changes: dict[str, Any], good: bool) -> None:
    verifier = tokens(jwt_audience="milepost", jwt_issuer="us")
    if good:
        assert (await verifier.verify(sign(**changes)))[0].user_id == "user-1"
    else:
        assert await code_of(verifier, sign(**changes)) == "invalid_token"


async def test_an_audience_that_nobody_demands_does_not_matter() -> None:
    assert (await tokens().verify(sign(aud="x", iss="y")))[0].user_id == "user-1"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_public_keys(idp: Provider, algorithm: str) -> None:
    verifier = tokens(jwt_jwks_url=idp.url)
    sender, _ = await verifier.verify(idp.sign(algorithm))
    assert sender.user_id == "user-1"
    without_kid = jwt.encode(claims(), idp.keys[algorithm][1], algorithm)
    assert (await verifier.verify(without_kid))[0].user_id == "user-1"
    forged = jwt.encode(claims(), private_key(algorithm), algorithm, headers={"kid": algorithm})
    assert await code_of(verifier, forged) == "invalid_token"
    assert idp.asked == 1


async def test_a_public_key_is_no_shared_secret(idp: Provider) -> None:
    verifier = tokens(jwt_jwks_url=idp.url)
    public = idp.keys["RS256"][1].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert await code_of(verifier, own({"alg": "HS256", "kid": "RS256"}, pem.decode())) == "invalid_token"
    assert idp.asked == 0


async def test_a_key_of_another_family_or_use(idp: Provider) -> None:
    """The kid names a key that does not sign like this; secrets and encryption keys in the set do not count."""
    idp.more = [
        {"kty": "oct", "kid": "secret", "k": base64.urlsafe_b64encode(SECRET.encode()).decode()},
        json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(idp.keys["RS256"][1].public_key())) | {"kid": "e", "use": "enc"},
    ]
    verifier = tokens(jwt_jwks_url=idp.url)
    crossed = jwt.encode(claims(), idp.keys["ES256"][1], "ES256", headers={"kid": "RS256"})
    assert await code_of(verifier, crossed) == "invalid_token"
    enciphering = jwt.encode(claims(), idp.keys["RS256"][1], "RS256", headers={"kid": "e"})
    assert await code_of(verifier, enciphering) == "invalid_token"
    longer = jwt.encode(claims(), idp.keys["RS256"][1], "RS512", headers={"kid": "RS256"})
    assert await code_of(verifier, longer) == "invalid_token"
    assert (await verifier.verify(idp.sign("RS256")))[0].user_id == "user-1"


async def test_two_keys_and_no_id_are_ambiguous(idp: Provider) -> None:
    idp.add("second", "RS256")
    token = jwt.encode(claims(), idp.keys["RS256"][1], "RS256")
    assert await code_of(tokens(jwt_jwks_url=idp.url), token) == "invalid_token"


async def test_rotation(idp: Provider) -> None:
    verifier = tokens(jwt_jwks_url=idp.url)
    verifier.jwks = Jwks(idp.url, interval=0)
    await verifier.verify(idp.sign("RS256"))
    idp.add("new", "RS256")
    old = idp.sign("RS256")
    del idp.keys["RS256"]
    assert (await verifier.verify(idp.sign("new")))[0].user_id == "user-1"
    assert idp.asked == 2
    assert await code_of(verifier, old) == "invalid_token"


async def test_a_flood_of_unknown_keys_asks_once(idp: Provider) -> None:
    verifier = tokens(jwt_jwks_url=idp.url)
    forged = [idp.sign("RS256", {"kid": f"unknown-{number}"}) for number in range(50)]
    codes = await asyncio.gather(*(code_of(verifier, token) for token in forged))
    codes += [await code_of(verifier, token) for token in forged]
    assert set(codes) == {"invalid_token"}
    assert idp.asked == 1


async def test_a_provider_that_is_away(idp: Provider) -> None:
    verifier = tokens(jwt_jwks_url=idp.url)
    verifier.jwks = Jwks(idp.url, interval=0)
    idp.status = 500
    assert await code_of(verifier, idp.sign("RS256")) == "keys_unavailable"
    idp.status = 200
    await verifier.verify(idp.sign("RS256"))
    idp.status = 500
    idp.add("new", "RS256")
    assert await code_of(verifier, idp.sign("new")) == "keys_unavailable"
    assert (await verifier.verify(idp.sign("RS256")))[0].user_id == "user-1"


async def test_an_address_where_nobody_listens() -> None:
    verifier = tokens(jwt_jwks_url="http://127.0.0.1:1/keys")
    token = jwt.encode(claims(), private_key("EdDSA"), "EdDSA")
    assert await code_of(verifier, token) == "keys_unavailable"
    assert await code_of(verifier, token) == "keys_unavailable"


async def test_withdrawn_keys_go_in_passing(idp: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.auth.jwks.FRESH_SECONDS", -1.0)
    verifier = tokens(jwt_jwks_url=idp.url)
    jwks = verifier.jwks = Jwks(idp.url, interval=0)
    old = idp.sign("RS256")
    await verifier.verify(old)
    del idp.keys["RS256"]
    await verifier.verify(old)
    assert jwks._task is not None
    await jwks._task
    assert await code_of(verifier, old) == "invalid_token"
    await jwks.close()
