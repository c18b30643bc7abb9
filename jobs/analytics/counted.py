"""What one session counts for: a pure function of its row and its facts.

The same session gives the same counts whenever and however often it is looked at, so that a rollup is always the sum of
what its sessions count for, and an action that comes late moves only the difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from jobs.analytics.cells import BOT, Base, Count, bucket, finest, parts, price_bucket, several, short
from jobs.analytics.funnel_catalog import Funnel
from jobs.analytics.funnels import Done, taken
from jobs.tracking.session import Session

NEXT_MOST: Final = 200
"""Steps of a session that paths look at: more are a machine's."""
_PATHS: Final = {"interaction.recorded", "page.viewed"}
START, END = "start", "end"
"""How an answer tells them; a key has null, since a category may be named so, too."""

Counts = dict[Base, Count]


ROBOT: Final = "bot:"
"""Prefix of visitors that are no people: each session of a bot is one of its own."""


def visitor(session: Session) -> str:
    """Who a session counts for: its user, else its anonymous id, else nobody but itself."""
    if session.is_bot:
        return ROBOT + session.session_id
    if session.user_id is not None:
        return "user:" + session.user_id
    if session.anonymous_id is not None:
        return "anonymous:" + session.anonymous_id
    return "session:" + session.session_id


def of(session: Session, facts: Sequence[Done], final: str | None, funnels: Sequence[Funnel]) -> Counts:
    """What a session counts for. `facts` are ordered by (at, id); `final`: digest of its last configuration."""
    counts = of_row(session, final)
    at = finest("sessions", session.at.timestamp())
    for done in facts:
        _count(counts, Base("actions", finest("actions", done.at), done.kind))
    for category, value in _chosen(facts).items():
        _count(counts, Base("choice", at, several(short(category), short(value))))
    _path(counts, facts, at)
    _funnels(counts, facts, at, funnels)
    return counts


def of_row(session: Session, final: str | None) -> Counts:
    """What its row alone says."""
    counts: Counts = {}
    at = finest("sessions", session.at.timestamp())

    def count(measure: str, key: str = "", value: int = 0) -> None:
        _count(counts, Base(measure, at, key), value)

    count("sessions", value=duration(session))
    count("devices", session.device_type or "")
    if session.completed_at is not None:
        count("completed")
    else:
        count("dropped", session.last_category or "")
    if session.total_price is not None:
        count("prices", price_bucket(session.total_price))
    if final is not None:
        count("configuration", final)
    return counts


def marked(counts: Counts) -> Counts:
    """What a bot's session counts for, beside what people's do."""
    return {base._replace(measure=BOT + base.measure): count for base, count in counts.items()}


def unmarked(counts: Counts) -> Counts:
    """As if it were a person's."""
    return {base._replace(measure=base.measure.removeprefix(BOT)): count for base, count in counts.items()}


def merged(old: Counts, new: Counts) -> Counts:
    """What a session counts for of whose facts retention has dropped some: `new` is what the others say.

    Actions are as many as they ever were; a choice or configuration is the newest that is known; paths and funnels stay
    as they were, since half a session says nothing of them.
    """
    at = next(base.at for base in new if base.measure == "sessions")
    found = {base: count for base, count in new.items() if not _is_whole(base.measure)}
    chosen = {parts(base.key)[0] for base in new if base.measure == "choice"}
    has_final = any(base.measure == "configuration" for base in new)
    for base, count in old.items():
        if base.measure == "actions":
            found[base] = max(count, found.get(base, count))
        elif (
            _is_whole(base.measure)
            or (base.measure == "choice" and parts(base.key)[0] not in chosen)
            or (base.measure == "configuration" and not has_final)
        ):
            found[base._replace(at=at)] = count
    return found


def _is_whole(measure: str) -> bool:
    return measure == "next" or measure.startswith(("funnel:", "gap:"))


def duration(session: Session) -> int:
    """From the first action to completion, else to the last action; milliseconds."""
    until = session.last_at if session.completed_at is None else session.completed_at
    return max(0, round((until - session.at).total_seconds() * 1000))


def _chosen(facts: Sequence[Done]) -> Mapping[str, str]:
    """The last selection of each category."""
    return {
        done.name: done.value
        for done in facts
        if done.kind == "interaction.recorded" and done.name is not None and done.value is not None
    }


def _path(counts: Counts, facts: Sequence[Done], at: int) -> None:
    """Each step to another category or page; what follows it, and what precedes the first."""
    before = None
    steps = [short(done.name) for done in facts if done.kind in _PATHS and done.name is not None][:NEXT_MOST]
    for step in [*steps, None] if steps else ():
        if step != before:
            _count(counts, Base("next", at, several(before, step)))
            before = step


def _funnels(counts: Counts, facts: Sequence[Done], at: int, funnels: Sequence[Funnel]) -> None:
    """The steps that were entered, and how long it took from each to the next, in milliseconds."""
    for funnel in funnels:
        times = taken(funnel, facts)
        for number, when in enumerate(times):
            _count(counts, Base("funnel:" + funnel.name, at, str(number)))
            if number:
                gap = bucket(round((when - times[number - 1]) * 1000))
                _count(counts, Base("gap:" + funnel.name, at, several(number - 1, gap)))


def _count(counts: Counts, base: Base, value: int = 0) -> None:
    n, total = counts.get(base, (0, 0))
    counts[base] = Count(n + 1, total + value)
