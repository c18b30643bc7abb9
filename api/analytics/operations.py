"""The routes of api/analytics/ as the OpenAPI document tells them: definitions, units, ranges."""

from __future__ import annotations

from typing import Final

from api.analytics.routes import BASE, MOST
from api.operation import BY_HEADER, JSON, WHO, Operation
from api.schemas import COUNT, SHARE, TEXT, TIME, Json, fields, listed, nullable, query

_MS: Final[Json] = {"type": "integer", "minimum": 0, "description": "milliseconds"}
_MS_OR_NONE: Final[Json] = {"type": ["integer", "null"], "minimum": 0, "description": "milliseconds"}
_VALUE: Final[Json] = {"type": ["number", "null"]}


def _list(properties: Json) -> Json:
    return listed(fields(properties))


_THROUGH: Final[Json] = {"appliedThrough": {**TIME, "description": "what was applied before this is in the answer"}}
_RANGE: Final[Json] = {"from": TIME, "to": TIME, "grain": {"enum": ["hour", "day"]}, **_THROUGH}
_SUMS: Final[Json] = {
    "sessions": COUNT,
    "interactions": COUNT,
    "completedConfigurations": COUNT,
    "conversionRate": SHARE,
    "averageSessionDurationMs": _MS,
}
_BOTS: Final[Json] = {"bots": {**COUNT, "description": "sessions of declared bots that are left out"}}
_COUNTED: Final[Json] = {"sessions": COUNT, "share": SHARE}
_OVERVIEW: Final = fields(
    {
        **_RANGE,
        **_SUMS,
        "uniqueUsers": COUNT,
        **_BOTS,
        "dropOffPoints": _list({"category": nullable(TEXT), **_COUNTED}),
        "priceDistribution": _list({"from": {"type": "integer"}, "to": {"type": "integer"}, **_COUNTED}),
        "devices": _list({"device": nullable(TEXT), **_COUNTED}),
        "series": _list({"start": TIME, **_SUMS}),
    }
)
_FUNNEL: Final = fields(
    {
        **_RANGE,
        **_BOTS,
        "funnel": TEXT,
        "funnels": {"type": "array", "items": TEXT, "description": "the names of all"},
        "windowSeconds": COUNT,
        "conversionRate": SHARE,
        "steps": _list(
            {
                "step": TEXT,
                "entered": COUNT,
                "converted": {"type": ["integer", "null"], "minimum": 0},
                "dropOff": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
                "shareOfFirst": SHARE,
                "medianTimeToNextMs": _MS_OR_NONE,
            }
        ),
    }
)
_POPULAR: Final = fields(
    {
        **_THROUGH,
        "configuredSessions": COUNT,
        **_BOTS,
        "configurations": _list({"configuration": {"type": "object"}, **_COUNTED}),
        "categories": _list({"category": TEXT, "values": _list({"value": nullable(TEXT), **_COUNTED})}),
    }
)
_FIGURES: Final[Json] = {"count": COUNT, "mean": _VALUE, "p50": _VALUE, "p95": _VALUE, "p99": _VALUE, "max": _VALUE}
_PERFORMANCE: Final = fields(
    {
        **_RANGE,
        "metric": TEXT,
        "metrics": {"type": "array", "items": TEXT},
        "accuracy": {"type": "number", "description": "relative error of the quantiles"},
        **_FIGURES,
        "series": _list({"start": TIME, **_FIGURES}),
        "paths": _list({"path": TEXT, **_FIGURES}),
        "missedAtMost": {**COUNT, "description": "how many more values than the last path another may have; 0: none"},
        "other": fields({name: schema for name, schema in _FIGURES.items() if name != "max"}),
    }
)
_RETENTION: Final = fields(
    {
        **_THROUGH,
        "cohorts": _list(
            {
                "week": {"type": "string", "format": "date"},
                "visitors": COUNT,
                "retained": _list({"week": COUNT, "visitors": COUNT, "share": SHARE}),
            }
        ),
    }
)
_MISSED: Final[Json] = {
    **COUNT,
    "description": "a step that is not told may have been taken so many times more than the last that is; 0: none was",
}
_PATHS: Final = fields(
    {
        **_RANGE,
        **_BOTS,
        "missedAtMost": _MISSED,
        "steps": _list({"from": TEXT, "to": TEXT, "times": COUNT, "share": SHARE}),
    }
)
_JOURNEY: Final = fields(
    {
        **_THROUGH,
        "session": {"$ref": "#/components/schemas/Session"},
        "steps": {
            "type": "array",
            "items": fields(
                {"at": TIME, "id": TEXT, "kind": TEXT, "timeSpentMs": _MS_OR_NONE}, additionalProperties=True
            ),
        },
        "categories": _list(
            {
                "category": TEXT,
                "interactions": COUNT,
                "timeSpentMs": _MS,
                "selections": {"type": "array", "items": TEXT},
                "changesOfMind": COUNT,
            }
        ),
        "finalConfiguration": {"type": ["object", "null"]},
        "stoppedAt": nullable(TEXT),
        "isCut": {"type": "boolean"},
    }
)
_REAL_TIME: Final = fields(
    {
        **_THROUGH,
        "at": TIME,
        "activeSessions": COUNT,
        "actionsPerMinute": _list({"minute": TIME, "actions": COUNT}),
        "latest": _list({"at": TIME, "kind": TEXT, "name": nullable(TEXT), "sessionId": TEXT}),
        "api": fields({"requests": COUNT, "p50Ms": _VALUE, "p95Ms": _VALUE}),
        "shedding": {"type": "boolean", "description": "this process sheds clicks and metrics"},
        "partitions": _list(
            {"partition": COUNT, "backlogBytes": COUNT, "lagSeconds": {"type": "number", "minimum": 0}}
        ),
        "workers": _list(
            {
                "name": TEXT,
                "alive": {"type": "boolean"},
                "beatSeconds": {"type": "number"},
                "applied": COUNT,
                "rate": {"type": "number"},
                "failure": nullable(TEXT),
            }
        ),
    }
)
_RANGES: Final = ("TimeRange", "From", "To")
_CUT: Final = (
    "A range of up to 48 hours is cut to whole hours, a longer one to whole UTC days; `from` and `to` say to which. "
    "Sessions count in the hour or day of their first action."
)


def _read(path: str, name: str, summary: str, schema: Json, about: str, *parameters: str) -> Operation:
    return Operation(
        *("GET", f"{BASE}/{path}", name, summary),
        {200: (summary + ".", JSON, schema)},
        about,
        codes=(*WHO, "invalid_parameter", "database_unavailable", *(("not_found",) if "journey" in path else ())),
        security=BY_HEADER,
        parameters=parameters,
    )


OPERATIONS: Final = (
    _read(
        *("overview", "readOverview", "What visitors did in a range", _OVERVIEW),
        f"{_CUT} `conversionRate`: sessions with an `order_attempt` or one configuration at 100 %, over all. The "
        "average duration is from the first action to completion, else to the last action. `dropOffPoints`: the last "
        "category of sessions that did not complete. `priceDistribution`: final prices, `from` a price up to below "
        "`to`. `uniqueUsers` is exact: by user, else anonymous id, else session.",
        *_RANGES,
        "AnalyticsBots",
    ),
    _read(
        *("user-journey", "readJourney", "One session, step by step", _JOURNEY),
        "The time of a step is the one given by the client, else the gap to the next. A change of mind is a selection "
        "of another value than the last of its category. `stoppedAt` is null for a session that completed.",
        "JourneySession",
    ),
    _read(
        *("popular-configs", "readPopularConfigurations", "What most sessions end with", _POPULAR),
        "Final configurations are compared as canonical JSON; of each category the last selection of a session counts. "
        "The hundred categories in which most sessions chose something.",
        "AnalyticsLimit",
        "AnalyticsBots",
    ),
    _read(
        *("conversion-funnel", "readFunnel", "How far sessions come, step by step", _FUNNEL),
        f"{_CUT} A step is the earliest action behind that of the step before, within the window from the first step. "
        "`dropOff`: the share of those who entered and did not go on.",
        *_RANGES,
        "AnalyticsFunnel",
        "AnalyticsBots",
    ),
    _read(
        *("performance", "readPerformance", "One metric: count, mean, quantiles, series", _PERFORMANCE),
        f"{_CUT} Metrics count by their own time. Quantiles are within `accuracy` of a value that was measured. "
        "`api_response_time` and `api_error` are the API's own, in ms, by path: the 200 with the most values. `other`: "
        "all values that are of none of these.",
        *_RANGES,
        "AnalyticsMetric",
    ),
    _read(
        *("retention", "readRetention", "Who comes back, by weekly cohorts", _RETENTION),
        "A cohort is the visitors whose first session began in a week (Monday, UTC). `share`: of its visitors. "
        "The last cohort is that of `to`.",
        "AnalyticsWeeks",
        "To",
    ),
    _read(
        *("paths", "readPaths", "The most frequent next steps", _PATHS),
        f"{_CUT} Steps are categories and pages; `share`: of all that left `from`.",
        *_RANGES,
        "AnalyticsLimit",
        "AnalyticsBots",
    ),
    Operation(
        *("GET", f"{BASE}/real-time", "readRealTime", "What happens now"),
        {200: ("What happens now.", JSON, _REAL_TIME)},
        "Sessions that did something within five minutes and have not ended; actions of sessions in each of the last "
        "30 minutes; the 20 newest; the API's own times of the last five minutes in ms; how far the log is behind.",
        codes=(*WHO, "database_unavailable", "log_unavailable"),
        security=BY_HEADER,
    ),
    Operation(
        *("GET", "/api/admin/live", "listenRealTime", "What happens now, as events"),
        {200: ("Server-sent events without an end.", "text/event-stream", TEXT)},
        "Every two seconds an event `now` with the answer of `/api/admin/analytics/real-time`, or `fault` with a "
        "`code` while it cannot be read. `closed` with a `code` comes before the end when the sender may look no more.",
        codes=(*WHO, "streams_full", "not_ready"),
        security=BY_HEADER,
    ),
)


PARAMETERS: Final[Json] = {
    "JourneySession": query("sessionId", {"type": "string", "minLength": 1}, "The session.", required=True),
    "AnalyticsLimit": query("limit", {"type": "integer", "minimum": 1, "maximum": MOST}, "How many."),
    "AnalyticsBots": query(
        "bots", {"enum": ["exclude", "include"]}, "Whether declared bots are counted, too; `exclude` if left out."
    ),
    "AnalyticsFunnel": query("funnel", TEXT, "A funnel of the catalog; `default` if left out."),
    "AnalyticsMetric": query("metric", {"type": "string", "maxLength": 256}, "`api_response_time` if left out."),
    "AnalyticsWeeks": query("weeks", {"type": "integer", "minimum": 1, "maximum": 52}, "Cohorts; 12 if left out."),
}
