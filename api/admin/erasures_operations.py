"""The routes of api/admin/erasures.py as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api.admin.erasures import Erase
from api.operation import ADMIN, BODY, BY_HEADER, JSON, Operation
from api.schemas import TEXT, Json, fields, listed, nullable
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
        *("GET", "/v1/admin/erasures/{erasureId}", "readErasure", "The receipt of an erasure"),
        {200: ("As it stands.", JSON, "Receipt")},
        codes=(*ADMIN, "not_found"),
        security=BY_HEADER,
        parameters=("ErasureId",),
    ),
)
PARAMETERS: Final[Json] = {
    "ErasureId": {
        "name": "erasureId",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
        "description": "The id of the receipt.",
    },
}
TYPES: Final = (Erase, Receipt)
