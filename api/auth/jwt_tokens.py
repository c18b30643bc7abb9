"""User tokens: JWTs by a shared secret (HS256) or by an identity provider's public keys (RS256, ES256, EdDSA)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import jwt
from jwt.types import Options

from api.auth.jwks import PUBLIC, Jwks
from api.errors import Problem, unauthorized
from db.settings import Settings
from jobs.action import Sender, is_id

MAX_LENGTH: Final = 8192
NBF_LEEWAY: Final = 5
"""Seconds that the identity provider's clock may be ahead of ours."""
_FORM = re.compile(r"[\w-]+={0,2}\.[\w-]+={0,2}\.[\w-]*={0,2}", re.ASCII)
_OPTIONS: Final[Options] = {"require": ["exp", "sub"], "verify_sub": False, "verify_iat": False, "verify_nbf": False}
# Beside PyJWT's own: numbers beyond any date, deep nesting.
_UNREADABLE: Final = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


class Tokens:
    """Verifies tokens; the key decides which algorithms may be used with it, never the token."""

    def __init__(self, settings: Settings, now: Callable[[], float] = time.time) -> None:
        """`now`: the wall clock, unix seconds."""
        self.settings, self.now = settings, now
        self.jwks = Jwks(settings.jwt_jwks_url) if settings.jwt_jwks_url else None

    async def verify(self, token: str) -> tuple[Sender, float]:
        """The sender, and when the token expires (unix seconds). Raises Problem: 401, or 503 when the keys are away."""
        if len(token) > MAX_LENGTH or _FORM.fullmatch(token) is None:
            raise _invalid("the token is no JWT")
        algorithm, key = await self._key(_header(token))
        claims = self._claims(token, algorithm, key)
        return sender_of(claims), float(claims["exp"])

    async def _key(self, header: Mapping[str, Any]) -> tuple[str, Any]:
        algorithm, kid = header.get("alg"), header.get("kid")
        if "crit" in header:
            raise _invalid("the token demands extensions (crit) that are not understood")
        if algorithm == "HS256" and self.settings.jwt_secret:
            return "HS256", self.settings.jwt_secret
        if isinstance(algorithm, str) and algorithm in PUBLIC and self.jwks is not None:
            return algorithm, await self.jwks.key(kid, algorithm)
        raise _invalid("the token is signed in a way that is not accepted here")

    def _claims(self, token: str, algorithm: str, key: Any) -> dict[str, Any]:
        audience, issuer = self.settings.jwt_audience or None, self.settings.jwt_issuer or None
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=audience,
                issuer=issuer,
                options={**_OPTIONS, "verify_aud": audience is not None, "verify_exp": False},
            )
            if (expires := int(claims["exp"])) <= self.now():
                raise unauthorized("token_expired", "the token has expired")
            if int(claims.get("nbf") or 0) > self.now() + NBF_LEEWAY:
                raise _invalid("the token is not valid yet")
        except jwt.MissingRequiredClaimError as error:
            raise _invalid(f"the token has no {error.claim}") from None
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
            raise _invalid("the token is for another audience, or from another issuer") from None
        except _UNREADABLE:
            raise _invalid("the signature or the form of the token is wrong") from None
        return claims | {"exp": expires}


def sender_of(claims: Mapping[str, Any]) -> Sender:
    """Who a verified token speaks for: its own subject, and everybody's if it carries the scope `admin`."""
    user, org = claims["sub"], claims.get("org_id")
    if not is_id(user) or (org is not None and not is_id(org)):
        raise _invalid("sub and org_id are texts of 1 to 128 characters without control characters")
    admin = "admin" in _words(claims.get("scope")) or "admin" in _words(claims.get("permissions"))
    scopes = frozenset(("ingest", "read", "admin") if admin else ("ingest", "read"))
    return Sender(f"user:{user}", "admin" if admin else "user", scopes, user, org)


def _words(claim: Any) -> list[Any]:
    """A claim that providers write as text with spaces or as a list."""
    return claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else []


def _header(token: str) -> dict[str, Any]:
    try:
        return jwt.get_unverified_header(token)
    except _UNREADABLE:
        raise _invalid("the token is no JWT") from None


def _invalid(message: str) -> Problem:
    return unauthorized("invalid_token", message)
