"""Where the outside finds us: the setting, else what the request itself says."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import hdrs, web

from api.state import STATE

_HOST: Final = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?", re.ASCII | re.IGNORECASE
)
_SCHEMES: Final = frozenset({"http", "https"})


def base(request: web.Request) -> str:
    """`https://learn.example.com`, without a slash at its end.

    Without MILEPOST_PUBLIC_URL the host is the request's, and the scheme what a proxy in front says it was. Who sends
    another Host sees it in an answer of their own only; one that is no host name gives our own address.
    """
    settings = request.app[STATE].settings
    if settings.public_url:
        return settings.public_url
    said = request.headers.get(hdrs.X_FORWARDED_PROTO, "").partition(",")[0].strip().lower()
    scheme = said if said in _SCHEMES else request.scheme
    host = request.headers.get(hdrs.HOST, "")
    return f"{scheme}://{host if _HOST.fullmatch(host) else f'{settings.host}:{settings.port}'}"
