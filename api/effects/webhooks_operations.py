"""The routes of api/effects/webhooks.py as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api.effects.webhooks import Change, Created, Registration, Rotated, TestResult
from api.operation import ADMIN, BODY, BY_HEADER, JSON, Operation
from api.schemas import TEXT, YES, Json, nullable, path, query
from jobs.effects.destinations import Destination
from jobs.effects.history import STATUSES, OneDelivery

_REF: Final = "#/components/schemas/"
_LIST: Final[Json] = {
    "type": "object",
    "required": ["webhooks"],
    "properties": {"webhooks": {"type": "array", "items": {"$ref": _REF + "Destination"}}},
}
_DELIVERIES: Final[Json] = {
    "type": "object",
    "required": ["deliveries", "cursor"],
    "properties": {
        "deliveries": {"type": "array", "items": {"$ref": _REF + "OneDelivery"}},
        "cursor": nullable(TEXT),
    },
}
_DELETED: Final[Json] = {
    "type": "object",
    "required": ["id", "deleted"],
    "properties": {"id": {"type": "string", "format": "uuid"}, "deleted": YES},
}
_ONE: Final = (*ADMIN, "not_found")
_PLACE: Final = ("invalid_webhook", "forbidden_address")
_EXAMPLE: Final = {"url": "https://example.com/hooks", "types": ["certificate.issued", "usage.*"]}

OPERATIONS: Final = (
    Operation(
        *("POST", "/v1/admin/webhooks", "createWebhook", "Register a webhook"),
        {201: ("The webhook with its secret, which is shown this once.", JSON, "Created")},
        "Effects of `types` (exact, or `prefix*`; none: all) are posted to `url` by the specification of Standard "
        "Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`. Anything but 2xx is tried again for 3 days.",
        codes=(*ADMIN, *BODY, *_PLACE, "too_many_webhooks"),
        security=BY_HEADER,
        bodies=("Registration",),
    ),
    Operation(
        *("GET", "/v1/admin/webhooks", "listWebhooks", "The webhooks"),
        {200: ("In order of creation.", JSON, _LIST)},
        codes=ADMIN,
        security=BY_HEADER,
    ),
    Operation(
        *("GET", "/v1/admin/webhooks/{webhookId}", "readWebhook", "One webhook"),
        {200: ("As it stands.", JSON, "Destination")},
        codes=_ONE,
        security=BY_HEADER,
        parameters=("WebhookId",),
    ),
    Operation(
        *("PATCH", "/v1/admin/webhooks/{webhookId}", "changeWebhook", "Change a webhook, switch it off or on"),
        {200: ("As it stands now.", JSON, "Destination")},
        "`enabled: false` discards what waits for it; `enabled: true` forgets its failures.",
        codes=(*_ONE, *BODY, *_PLACE),
        security=BY_HEADER,
        parameters=("WebhookId",),
        bodies=("Change",),
    ),
    Operation(
        *("DELETE", "/v1/admin/webhooks/{webhookId}", "deleteWebhook", "Delete a webhook"),
        {200: ("It is gone; what waited for it is discarded.", JSON, _DELETED)},
        codes=_ONE,
        security=BY_HEADER,
        parameters=("WebhookId",),
    ),
    Operation(
        *("POST", "/v1/admin/webhooks/{webhookId}/test", "testWebhook", "Send a test to a webhook"),
        {200: ("How the receiver took it; a failure is an answer, too.", JSON, "TestResult")},
        "One `milepost.test` effect, at once, not tried again; it stands among the deliveries.",
        codes=_ONE,
        security=BY_HEADER,
        parameters=("WebhookId",),
    ),
    Operation(
        *("POST", "/v1/admin/webhooks/{webhookId}/rotate", "rotateWebhook", "Give a webhook a new secret"),
        {200: ("The new secret, which is shown this once; for 24 h both sign.", JSON, "Rotated")},
        codes=_ONE,
        security=BY_HEADER,
        parameters=("WebhookId",),
    ),
    Operation(
        *("GET", "/v1/admin/webhooks/{webhookId}/deliveries", "listDeliveries", "What went to a webhook"),
        {200: ("Newest first, with every attempt.", JSON, _DELIVERIES)},
        codes=(*_ONE, "invalid_parameter"),
        security=BY_HEADER,
        parameters=("WebhookId", "Status", "Limit", "Cursor"),
    ),
)
PARAMETERS: Final[Json] = {
    "WebhookId": path("webhookId", {"type": "string", "format": "uuid"}, "The id of a webhook."),
    "Status": query("status", {"enum": list(STATUSES)}, "Those of this status only."),
    "Limit": query("limit", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}, "At most so many."),
    "Cursor": query("cursor", TEXT, "`cursor` of an earlier answer: what comes behind it."),
}
TYPES: Final = (Registration, Change, Created, Rotated, TestResult, Destination, OneDelivery)
