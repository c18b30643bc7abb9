"""The routes of api/admin/erasures.py and api/admin/exports.py as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api.admin.erasures import Erase
from api.operation import ADMIN, BODY, BY_HEADER, JSON, Operation
from api.schemas import TEXT, Json, fields, listed, nullable, query
from jobs.privacy.receipts import Receipt

_LIST: Final = fields({"erasures": listed({"$ref": "#/components/schemas/Receipt"}), "cursor": nullable(TEXT)})

OPERATIONS: Final = (
    Operation(
        *("POST", "/v1/admin/erasures", "eraseUser", "Erase a user, for ever"),
        {202: ("The order; a worker carries it out within seconds.", JSON, "Receipt")},
        "Everything that is held of them goes, and whatever comes of them later is dropped. While an erasure of this "
        "user is under way, another order is the same one. Ask for the receipt until `status` is `done`.",
        codes=(*ADMIN, *BODY, "invalid_id"),
        security=BY_HEADER,
        bodies=("Erase",),
    ),
    Operation(
        *("GET", "/v1/admin/erasures", "listErasures", "The receipts of erasures"),
        {200: ("The newest order first.", JSON, _LIST)},
        "They name nobody: `person` is a keyed digest of the user id.",
        codes=(*ADMIN, "invalid_parameter"),
        security=BY_HEADER,
        parameters=("AdminLimit", "AdminCursor"),
    ),
    Operation(
        *("GET", "/v1/admin/export", "exportSubject", "Everything that is held of a user or an organisation"),
        {
            200: (
                "A line of JSON for each row. The last one is of the table `end`: without it, it was broken off.",
                "application/x-ndjson",
                fields({"table": TEXT, "row": {"type": "object"}}),
            )
        },
        "The last line has the number of `rows` before it. As of one moment, row by row as `python -m jobs export` "
        "writes it. Name a user or an organisation, not both; of somebody of whom nothing is held there is the last "
        "line alone. Who takes nothing for 30 s is cut off.",
        codes=(*ADMIN, "invalid_parameter", "invalid_id", "log_unavailable", "busy"),
        security=BY_HEADER,
        parameters=("ExportUser", "ExportOrg"),
    ),
    Operation(
        *("GET", "/v1/admin/erasures/{erasureId}", "readErasure", "The receipt of an erasure"),
        {200: ("As it stands.", JSON, "Receipt")},
        codes=(*ADMIN, "not_found"),
        security=BY_HEADER,
        parameters=("ErasureId",),
    ),
)
_ID: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 128}
PARAMETERS: Final[Json] = {
    "ExportUser": query("userId", _ID, "The user."),
    "ExportOrg": query("orgId", _ID, "The organisation, instead of a user."),
    "ErasureId": {
        "name": "erasureId",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
        "description": "The id of the receipt.",
    },
}
TYPES: Final = (Erase, Receipt)
