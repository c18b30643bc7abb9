"""The routes of this package as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api import pages
from api.operation import ACTION, BODY, BY_HEADER, JSON, LIMITS, LOG, READS, WHO, Operation
from api.referrals import overview
from api.referrals.routes import ReferralClaim
from api.schemas import COUNT, SHARE, TEXT, TIME, YES, Json, fields, listed, nullable, query

_STATUS: Final[Json] = {"enum": ["PENDING", "COMPLETED", "REWARDED"]}


_STATS: Final = fields(dict.fromkeys(("pending", "completed", "rewarded", "total"), COUNT))
_REFERRAL: Final = fields(
    {"code": TEXT, "status": _STATUS, "createdAt": TIME, "completedAt": nullable(TIME), "rewardedAt": nullable(TIME)}
)
_MADE: Final = fields({"referredOrgId": TEXT, **_REFERRAL["properties"]})
_REWARD: Final = fields(
    {"side": {"enum": ["referrer", "referred"]}, "amount": COUNT, "unit": TEXT, "createdAt": TIME},
    {"referredOrgId": TEXT},
)
_CODE: Final = fields({"code": TEXT, "link": TEXT, "stats": _STATS})
_CLAIMED: Final = fields(
    {
        "success": YES,
        "referral": fields({"code": TEXT, "status": _STATUS, "createdAt": TIME}, {"referrerOrgId": TEXT}),
    }
)
_LATER: Final = fields({"success": YES, "accepted": YES, "position": TEXT})
_ALL: Final = fields(
    {
        "code": nullable(TEXT),
        "referral": {"oneOf": [_REFERRAL, {"type": "null"}]},
        "stats": _STATS,
        "referrals": listed(_MADE),
        "rewards": listed(_REWARD),
        "earned": listed(fields({"unit": TEXT, "number": COUNT, "amount": COUNT})),
    }
)
_OVERVIEW: Final = fields(
    {
        "from": nullable(TIME),
        "to": nullable(TIME),
        "codes": COUNT,
        **_STATS["properties"],
        "conversionRate": SHARE,
        "medianSecondsToComplete": {"type": ["number", "null"], "minimum": 0},
        "topReferrers": listed(
            fields(
                {
                    "orgId": TEXT,
                    "code": nullable(TEXT),
                    **dict.fromkeys(("total", "converted", "rewarded"), COUNT),
                    "conversionRate": SHARE,
                }
            )
        ),
        "rewards": listed(
            fields({"side": _REWARD["properties"]["side"], "unit": TEXT, "number": COUNT, "amount": COUNT})
        ),
    }
)

OPERATIONS: Final = (
    Operation(
        *("GET", "/v1/referrals/code", "readReferralCode", "The code of an organisation, and how it fares"),
        {200: ("The code, the link to pass on, and how many came by it; with an ETag.", JSON, _CODE)},
        "The first call makes the code, which never changes: 503 when nobody applies actions at the moment. "
        "The counts are those of the moment.",
        codes=(*READS, "backlog_full", "family_off", "not_ready"),
        security=BY_HEADER,
        parameters=("ReferralOf", "After"),
        headers=("Milepost-Stale", *LIMITS),
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
        headers=LIMITS,
        examples={"claim": {"code": "CLIP42XY"}},
    ),
    Operation(
        *("GET", "/v1/referrals", "listReferrals", "What an organisation referred, and what it got for it"),
        {200: ("The newest first; `referral` is how it came here itself. With an ETag.", JSON, _ALL)},
        codes=(*READS, "invalid_parameter"),
        security=BY_HEADER,
        parameters=("ReferralOf", "ReferralLimit", "ReferralPage", "After"),
        headers=("Milepost-Stale", *LIMITS),
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
