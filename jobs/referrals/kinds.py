"""What happens between organisations: the payloads, and the kinds that carry them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta

from jobs.action import Draft
from jobs.kind import ANYBODY, HOUSE, Kind, Payload

Code = Annotated[str, Meta(min_length=1, max_length=64)]
OrgId = Annotated[str, Meta(min_length=1, max_length=128)]
REWARDED: Final = "referral.rewarded"


class CodeRequested(Payload):
    """The organisation wants its code."""


class SignedUp(Payload):
    """The organisation came by somebody's code."""

    code: Code


class Qualified(Payload):
    """The organisation has done what completes its referral."""


class Rewarded(Payload):
    """A completed referral is rewarded: told to the referrer first, then to the referred organisation."""

    referrer_org_id: OrgId
    referred_org_id: OrgId


def subject(draft: Draft) -> str | None:
    """The organisation."""
    return None if draft.org_id is None else f"org:{draft.org_id}"


KINDS: Final[Sequence[Kind]] = (
    Kind("referral.code_requested", CodeRequested, subject, ANYBODY),
    Kind("referral.signed_up", SignedUp, subject, ANYBODY),
    Kind("referral.qualified", Qualified, subject, HOUSE),
    Kind(REWARDED, Rewarded, subject, HOUSE),
)
