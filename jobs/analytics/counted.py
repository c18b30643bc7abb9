"""What one session counts for: a pure function of its row and its facts.

The same session gives the same counts whenever and however often it is looked at, so that a rollup is always the sum of
what its sessions count for, and an action that comes late moves only the difference.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from jobs.analytics.cells import BOT, Base, Count, bucket, finest, parts, price_bucket, several, short
from jobs.analytics.funnel_catalog import Funnel
from jobs.analytics.funnels import Done, Progress
from jobs.tracking.session import Session

NEXT_MOST: Final = 200
"""Steps of a session that paths look at: more are a machine's."""
CHOICES_MOST: Final = 1000
"""Categories of a session whose choices are counted: more are a machine's."""
LATEST: Final = 20
"""Newest actions that are told."""
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


class Reckoning:
    """What one session counts for, taken up fact by fact in the order of (at, id)."""

    def __init__(self, session: Session, funnels: Sequence[Funnel]) -> None:
        self.newest: deque[Done] = deque(maxlen=LATEST)
        self._session, self._at = session, finest("sessions", session.at.timestamp())
        self._counts: Counts = {}
        self._chosen: dict[str, str] = {}
        self._funnels = [Progress(funnel) for funnel in funnels]
        self._steps = 0
        self._before: str | None = None

    def take(self, done: Done) -> None:
        """The next fact."""
        self.newest.append(done)
        _count(self._counts, Base("actions", finest("actions", done.at), done.kind))
        for funnel in self._funnels:
            funnel.take(done)
        if done.name is None:
            return
        if done.kind in _PATHS:
            self._step(done.name)
        if done.value is not None and (len(self._chosen) < CHOICES_MOST or done.name in self._chosen):
            self._chosen[done.name] = done.value

    def _step(self, name: str) -> None:
        """To another category or page, or further in the same."""
        self._steps += 1
        step = short(name)
        if self._steps <= NEXT_MOST and step != self._before:
            _count(self._counts, Base("next", self._at, several(self._before, step)))
            self._before = step

    def counts(self, final: str | None) -> Counts:
        """All that it counts for; `final`: digest of its last configuration."""
        counts = of_row(self._session, final) | self._counts
        for category, value in self._chosen.items():
            _count(counts, Base("choice", self._at, several(short(category), short(value))))
        if self._steps:
            _count(counts, Base("next", self._at, several(self._before, None)))
        for funnel in self._funnels:
            _entered(counts, funnel, self._at)
        return counts


def of(session: Session, facts: Iterable[Done], final: str | None, funnels: Sequence[Funnel]) -> Counts:
    """What a session counts for; `facts` are ordered by (at, id)."""
    reckoning = Reckoning(session, funnels)
    for done in facts:
        reckoning.take(done)
    return reckoning.counts(final)


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


def _entered(counts: Counts, funnel: Progress, at: int) -> None:
    """The steps that were entered, and how long it took from each to the next, in milliseconds."""
    for number, when in enumerate(funnel.times):
        _count(counts, Base("funnel:" + funnel.name, at, str(number)))
        if number:
            gap = bucket(round((when - funnel.times[number - 1]) * 1000))
            _count(counts, Base("gap:" + funnel.name, at, several(number - 1, gap)))


def _count(counts: Counts, base: Base, value: int = 0) -> None:
    n, total = counts.get(base, (0, 0))
    counts[base] = Count(n + 1, total + value)
