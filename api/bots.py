"""Declared bots: their actions are kept, and flagged, so that nobody takes them for people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from jobs.action import BOT, Action, Sender

MOST: Final = 512
"""Characters of a user agent that are looked at."""
# What bots say of themselves: their word for it, or where to complain. Libraries are none: apps and servers use them.
_DECLARED: Final = re.compile(
    r"(?<!cu)bot(?![a-z]*le)|crawl|spider|slurp|scrap|https?:|www\.|archiv|preview|validator|feed|headless|phantomjs"
    r"|lighthouse|pagespeed|mediapartners|google-|pingdom|uptime|monitor|fetcher|externalhit|httrack|scanner|checker"
    r"|[\w.]@[\w-]+\.",
    re.IGNORECASE,
)
TELLING: Final = ("page.viewed", "event.tracked")
"""Kinds whose `properties` may name the user agent, for services that send on behalf of browsers."""


class _Properties(msgspec.Struct, rename="camel"):
    user_agent: object = None


class _Data(msgspec.Struct):
    properties: _Properties | None = None


_decode: Final = msgspec.json.Decoder(_Data).decode


@lru_cache(maxsize=4096)
def is_bot(agent: str) -> bool:
    """Whether a user agent says that it is a program that looks around by itself; none says nothing."""
    return _DECLARED.search(agent) is not None


def mark(actions: Sequence[Action], sender: Sender, agent: str | None) -> None:
    """Flag what a bot did. `agent`: the request's own, which of a service is that of no visitor."""
    if sender.role == "user" and agent and is_bot(agent[:MOST]):
        for action in actions:
            action.flags |= BOT
        return
    for action in actions:
        if action.kind in TELLING and b'"userAgent"' in action.data and _told(action.data):
            action.flags |= BOT


def _told(data: bytes) -> bool:
    found = _decode(data).properties
    agent = None if found is None else found.user_agent
    return isinstance(agent, str) and is_bot(agent[:MOST])
