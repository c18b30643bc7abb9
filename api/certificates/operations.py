"""The routes of api/certificates/routes.py as the OpenAPI document tells them."""

from __future__ import annotations

from typing import Final

from api.operation import BY_HEADER, JSON, LIMITS, WHO, Operation
from api.schemas import TEXT, TIME, Json, fields, nullable, path, query

_STATUS: Final[Json] = {"enum": ["valid", "revoked"]}
_URLS: Final[Json] = {"url": {"type": "string", "format": "uri"}, "pdfUrl": {"type": "string", "format": "uri"}}
_OWN: Final[Json] = {
    "serial": TEXT,
    "courseId": TEXT,
    "courseTitle": nullable(TEXT),
    "issuedAt": TIME,
    "status": _STATUS,
    **_URLS,
}
_ONE: Final[Json] = {
    **_OWN,
    "learnerName": nullable(TEXT),
    "revokedAt": {"type": ["string", "null"], "format": "date-time"},
    "revokedReason": nullable(TEXT),
}


_LIST: Final[Json] = fields({"certificates": {"type": "array", "items": fields(_OWN)}})
_UNKNOWN: Final = ("There is no such certificate.", "text/html", TEXT)
_GONE: Final = ("Its holder was erased: nobody can verify it any more.", "text/html", TEXT)
_LANGUAGE: Final = "In the language of `Accept-Language`. "
_SERIAL: Final = "The serial may be written in any case, with or without its hyphens."

OPERATIONS: Final = (
    Operation(
        *("GET", "/v1/certificates", "listCertificates", "The certificates of a user"),
        {200: ("The oldest first; with an ETag.", JSON, _LIST)},
        codes=(
            *(*WHO, "forbidden_subject", "invalid_id", "missing_subject", "invalid_position", "rate_limited"),
            *("log_unavailable", "database_unavailable"),
        ),
        security=BY_HEADER,
        parameters=("CertificatesOf", "After"),
        headers=("Milepost-Stale", *LIMITS),
    ),
    Operation(
        *("GET", "/certificates/{serial}.pdf", "readCertificatePdf", "A certificate to print"),
        {200: ("One page, A4 landscape.", "application/pdf", TEXT), 404: _UNKNOWN, 410: _GONE},
        _LANGUAGE + _SERIAL,
        codes=("busy", "database_unavailable"),
        parameters=("Serial",),
    ),
    Operation(
        *("GET", "/certificates/{serial}.json", "readCertificate", "Whether a certificate is valid, for programs"),
        {200: ("Valid or revoked.", JSON, fields(_ONE))},
        "Anybody may ask who knows the serial. " + _SERIAL,
        codes=("not_found", "certificate_erased", "database_unavailable"),
        parameters=("Serial",),
    ),
    Operation(
        *("GET", "/certificates/{serial}", "showCertificate", "Whether a certificate is valid, for people"),
        {
            200: ("Valid, or revoked with day and reason.", "text/html", TEXT),
            404: _UNKNOWN,
            410: _GONE,
            503: ("Nobody can tell at the moment.", "text/html", TEXT),
        },
        _LANGUAGE + _SERIAL,
        parameters=("Serial",),
    ),
)
PARAMETERS: Final[Json] = {
    "Serial": path(
        "serial",
        {"type": "string", "minLength": 1, "pattern": "^[^.]+$"},
        "The number of the certificate.",
        example="7K3M-9QXZ-2VBN-4HTC",
    ),
    "CertificatesOf": query(
        "userId",
        {"type": "string", "minLength": 1, "maxLength": 128},
        "Whose: demanded of a service key, not needed with a user token.",
    ),
}
