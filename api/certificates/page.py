"""A certificate's public page: no script, nothing from elsewhere, every word of outsiders escaped."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path
from typing import Final

from api import messages
from api.certificates.shown import Certificate, shown

STYLE: Final = Path(__file__).with_name("certificate.css").read_text(encoding="utf-8")
_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS: Final[dict[str, str]] = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
    "Referrer-Policy": "no-referrer",
}
_TICK: Final = '<path d="M14 25l7 7 14-15"/>'
_PAUSE: Final = '<path d="M19 16v16M29 16v16"/>'
_CROSS: Final = '<path d="M16 16l16 16M32 16L16 32"/>'
_DASH: Final = '<path d="M15 24h18"/>'
_SIGNS: Final = {"unknown": _CROSS, "gone": _DASH, "away": _PAUSE}


def of(certificate: Certificate, url: str, language: str) -> str:
    """The page of a certificate, valid or revoked; `url` is its own."""
    status = certificate.status
    course = shown(certificate.course_title) or shown(certificate.course_id)
    name = shown(certificate.learner_name)
    say = _Say(language)
    learner = f'<p class="learner"><small>{say("learner")}</small><bdi>{escape(name)}</bdi></p>' if name else ""
    body = (
        f"{_head(say, status, _TICK if status == 'valid' else _CROSS)}"
        f"<h2><small>{say('course')}</small><bdi>{escape(course)}</bdi></h2>{learner}"
        f"<dl>{_facts(certificate, say)}</dl>"
        f'<nav><a href="{escape(url)}.pdf">{say("download")}</a></nav>'
        f"<footer>{escape(url)}</footer>"
    )
    return _whole(
        say, status, f"{say(status)} · {escape(course)}", body, f'<link rel="canonical" href="{escape(url)}">'
    )


def without(language: str, reason: str = "unknown") -> str:
    """Where there is no certificate to show: `unknown`, `gone` with its holder, or `away` while nobody can tell."""
    say = _Say(language)
    return _whole(say, reason, say(reason), _head(say, reason, _SIGNS[reason]))


class _Say:
    """Messages of the page in one language, escaped."""

    def __init__(self, language: str) -> None:
        self.language = language

    def __call__(self, key: str) -> str:
        return escape(messages.text(self.language, f"page.{key}"))


def _head(say: _Say, key: str, sign: str) -> str:
    seal = f'<svg viewBox="0 0 48 48" aria-hidden="true"><circle cx="24" cy="24" r="21"/>{sign}</svg>'
    return f"<header>{seal}<div><h1>{say(key)}</h1><p>{say(f'{key}_text')}</p></div></header>"


def _facts(certificate: Certificate, say: _Say) -> str:
    """What there is to know besides name and course."""
    label = escape(messages.text(say.language, "certificate.issued"))
    number = escape(messages.text(say.language, "certificate.serial"))
    found = [
        _fact(label, _day(certificate, say, "issued_at")),
        _fact(number, f'<span class="serial">{escape(certificate.serial)}</span>'),
    ]
    if certificate.status == "revoked":
        found.append(_fact(say("revoked_at"), _day(certificate, say, "revoked_at")))
        if reason := shown(certificate.revoked_reason):
            found.append(_fact(say("reason"), f"<bdi>{escape(reason)}</bdi>"))
    return "".join(found)


def _fact(label: str, value: str) -> str:
    return f"<div><dt>{label}</dt><dd>{value}</dd></div>"


def _day(certificate: Certificate, say: _Say, field: str) -> str:
    at = getattr(certificate, field)
    return f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{escape(messages.date(say.language, at))}</time>'


def _whole(say: _Say, kind: str, title: str, body: str, links: str = "") -> str:
    direction = escape(messages.text(say.language, "language.direction"))
    return (
        f'<!doctype html><html lang="{escape(say.language)}" dir="{direction}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>{title}</title>{links}<style>{STYLE}</style></head>"
        f'<body><main class="{kind}">{body}</main></body></html>'
    )
