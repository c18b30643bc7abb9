"""The routes of this package as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api import pages
from api.operation import ACTION, BODY, BY_HEADER, JSON, LOG, WHO, Json, Operation, fields, listed, query
from api.referrals import overview
from api.referrals.routes import ReferralClaim

_TEXT: Final[Json] = {"type": "string"}
_COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_AT: Final[Json] = {"type": "string", "format": "date-time"}
_MAYBE_AT: Final[Json] = {"type": ["string", "null"], "format": "date-time"}
_SHARE: Final[Json] = {"type": "number", "minimum": 0, "maximum": 1}
_STATUS: Final[Json] = {"enum": ["PENDING", "COMPLETED", "REWARDED"]}
_YES: Final[Json] = {"const": True}


_STATS: Final = fields(dict.fromkeys(("pending", "completed", "rewarded", "total"), _COUNT))
_REFERRAL: Final = fields(
    {"code": _TEXT, "status": _STATUS, "createdAt": _AT, "completedAt": _MAYBE_AT, "rewardedAt": _MAYBE_AT}
)
_MADE: Final = fields({"referredOrgId": _TEXT, **_REFERRAL["properties"]})
_REWARD: Final = fields(
    {"side": {"enum": ["referrer", "referred"]}, "amount": _COUNT, "unit": _TEXT, "createdAt": _AT},
    {"referredOrgId": _TEXT},
)
_CODE: Final = fields({"code": _TEXT, "link": _TEXT, "stats": _STATS})
_CLAIMED: Final = fields(
    {
        "success": _YES,
        "referral": fields({"code": _TEXT, "status": _STATUS, "createdAt": _AT}, {"referrerOrgId": _TEXT}),
    }
)
_LATER: Final = fields({"success": _YES, "accepted": _YES, "position": _TEXT})
_ALL: Final = fields(
    {
        "code": {"type": ["string", "null"]},
        "referral": {"oneOf": [_REFERRAL, {"type": "null"}]},
        "stats": _STATS,
        "referrals": listed(_MADE),
        "rewards": listed(_REWARD),
        "earned": listed(fields({"unit": _TEXT, "number": _COUNT, "amount": _COUNT})),
    }
)
_OVERVIEW: Final = fields(
    {
        "from": _MAYBE_AT,
        "to": _MAYBE_AT,
        "codes": _COUNT,
        **_STATS["properties"],
        "conversionRate": _SHARE,
        "medianSecondsToComplete": {"type": ["number", "null"], "minimum": 0},
        "topReferrers": listed(
            fields(
                {
                    "orgId": _TEXT,
                    "code": {"type": ["string", "null"]},
                    **dict.fromkeys(("total", "converted", "rewarded"), _COUNT),
                    "conversionRate": _SHARE,
                }
            )
        ),
        "rewards": listed(
            fields({"side": _REWARD["properties"]["side"], "unit": _TEXT, "number": _COUNT, "amount": _COUNT})
        ),
    }
)
_LIMITS: Final = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_READS: Final = (
    *(*WHO, "forbidden_subject", "missing_subject", "invalid_id", "invalid_position", "rate_limited"),
    *("log_unavailable", "database_unavailable"),
)

OPERATIONS: Final = (
    Operation(
        *("GET", "/v1/referrals/code", "readReferralCode", "The code of an organisation, and how it fares"),
        {200: ("The code, the link to pass on, and how many came by it; with an ETag.", JSON, _CODE)},
        "The first call makes the code, which never changes: 503 when nobody applies actions at the moment. "
        "The counts are those of the moment.",
        codes=(*_READS, "backlog_full", "family_off", "not_ready"),
        security=BY_HEADER,
        parameters=("ReferralOf", "After"),
        headers=("Milepost-Stale", *_LIMITS),
    ),
    Operation(
        *("POST", "/v1/referrals/claim", "claimReferral", "An organisation came by a code"),
        {
            200: ("The referral; of a service's claim with the referrer.", JSON, _CLAIMED),
            202: ("Durable; it was not decided within `wait`.", JSON, _LATER),
        },
        "First touch wins: an organisation has one referral. The same code again is answered with it.",
        codes=(
            *(*WHO, *BODY, *ACTION, *LOG, "id_reused", "erased", "invalid_parameter", "database_unavailable"),
            *("unknown_code", "own_code", "already_referred", "referral_cycle"),
        ),
        security=BY_HEADER,
        parameters=("ReferralOf", "Wait", "Prefer", "IdempotencyKey", "ContentEncoding"),
        bodies=("ReferralClaim",),
        headers=_LIMITS,
        examples={"claim": {"code": "CLIP42XY"}},
    ),
    Operation(
        *("GET", "/v1/referrals", "listReferrals", "What an organisation referred, and what it got for it"),
        {200: ("The newest first; `referral` is how it came here itself. With an ETag.", JSON, _ALL)},
        codes=(*_READS, "invalid_parameter"),
        security=BY_HEADER,
        parameters=("ReferralOf", "ReferralLimit", "ReferralPage", "After"),
        headers=("Milepost-Stale", *_LIMITS),
    ),
    Operation(
        *("GET", "/admin/plg/referrals/overview", "readReferralsOverview", "How referrals fare"),
        {200: ("Of the claims of that time.", JSON, _OVERVIEW)},
        "Of all claims ever, unless `timeRange`, or `from` and `to` are given. `converted`: COMPLETED or REWARDED.",
        codes=(*WHO, "invalid_parameter", "database_unavailable"),
        security=BY_HEADER,
        parameters=("TimeRange", "From", "To", "TopReferrers"),
    ),
)


def _number(most: int, default: int) -> Json:
    return {"type": "integer", "minimum": 1, "maximum": most, "default": default}


PARAMETERS: Final[Json] = {
    "ReferralOf": query(
        *("orgId", {"type": "string", "minLength": 1, "maxLength": 128}),
        "Which organisation, with a service key; a user token has its own.",
    ),
    "ReferralLimit": query("limit", _number(pages.MOST, 50), "Referrals, and rewards, of a page."),
    "ReferralPage": query(
        "page", {"type": "integer", "minimum": 1}, "Counted from 1; at most 100,000 rows lie before it."
    ),
    "TopReferrers": query("limit", _number(overview.MOST_TOP, overview.TOP), "How many referrers are named."),
}
TYPES: Final = (ReferralClaim,)
