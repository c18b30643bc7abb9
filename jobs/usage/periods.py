"""Billing periods: calendar months or anniversaries of a day, in a subject's time zone, half-open.

A period begins at the first instant at which the zone's calendar shows the boundary's day, or a later one: a midnight
that does not exist is the end of the gap, one that exists twice is the first, a day that a zone skipped begins with the
next. Every boundary is reckoned from the original day (Jan 30, Feb 28, Mar 30), never from the boundary before.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo, available_timezones

import msgspec

SHORTEST: Final = timedelta(days=14)
"""What is left of a month when the rule changes is a period of its own only if it is as long, else part of the next."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Where the one period of a gauge begins."""
Billing = Literal["calendar", "anniversary"]
Period = tuple[datetime, datetime]
"""First instant, and the first that is not in it any more."""

_SECOND: Final = timedelta(seconds=1)
_zones: list[frozenset[str]] = []


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """`begins`: the boundary at which it comes into force, None for the first. `day`: the original day of the month."""

    begins: datetime | None = None
    zone: str = "UTC"
    day: int = 1

    @property
    def billing(self) -> Billing:
        """A calendar month is the anniversary of a first."""
        return "calendar" if self.day == 1 else "anniversary"


DEFAULT: Final = (Rule(),)
"""Calendar months in UTC."""


def is_zone(name: str) -> bool:
    """Whether this is an IANA zone; the host's own `localtime` is none."""
    if not _zones:
        _zones.append(frozenset(available_timezones()) - {"localtime", "Factory"})
    return name in _zones[0]


def period(rules: Sequence[Rule], at: datetime) -> Period:
    """The period in which `at` lies; `rules` in the order of their beginnings."""
    number = len(rules) - 1
    while number and (begins := rules[number].begins) is not None and at < begins:
        number -= 1
    rule = rules[number]
    year, month = _local_month(rule.zone, at)
    start = _boundary(rule.zone, year, month, rule.day)
    if at < start:
        start, end = _boundary(rule.zone, *_step(year, month, -1), rule.day), start
    else:
        end = _boundary(rule.zone, *_step(year, month, 1), rule.day)
        if at >= end:  # a zone whose calendar went back behind a boundary that it had shown
            start, end = end, _boundary(rule.zone, *_step(year, month, 2), rule.day)
    if rule.begins is not None:
        start, end = _after(rule, rule.begins, start, end)
    if number + 1 < len(rules) and (cut := rules[number + 1].begins) is not None:
        end = min(end, cut)
    return start, end


def _after(rule: Rule, begins: datetime, start: datetime, end: datetime) -> Period:
    """The first period of a rule begins where the one before ended, and is never shorter than SHORTEST."""
    first = begins + SHORTEST
    if start >= first:
        return start, end
    while end < first:
        end = _next(rule, end)
    return begins, end


def _next(rule: Rule, after: datetime) -> datetime:
    """The first boundary behind another."""
    year, month = _step(*_local_month(rule.zone, after), -1)
    while (found := _boundary(rule.zone, year, month, rule.day)) <= after:
        year, month = _step(year, month, 1)
    return found


def changed(rules: Sequence[Rule], at: datetime, zone: str, day: int, *, at_once: bool) -> tuple[Rule, ...]:
    """The rules with another one from the end of the running period on; `at_once`: nothing was ever counted.

    What was to come into force later is forgotten, and the running period keeps its boundaries.
    """
    if at_once:
        return (Rule(None, zone, day),)
    kept = [rule for rule in rules if rule.begins is None or rule.begins <= at]
    if (kept[-1].zone, kept[-1].day) == (zone, day):
        return tuple(kept)
    return (*kept, Rule(period(kept, at)[1], zone, day))


def day_of(zone: str, at: datetime) -> int:
    """The day of the month in a zone: the anchor of anniversaries."""
    return at.astimezone(ZoneInfo(zone)).day


def _local_month(zone: str, at: datetime) -> tuple[int, int]:
    local = at if zone == "UTC" else at.astimezone(ZoneInfo(zone))
    return local.year, local.month


def _step(year: int, month: int, months: int) -> tuple[int, int]:
    number = year * 12 + month - 1 + months
    return number // 12, number % 12 + 1


@lru_cache(maxsize=4096)
def _boundary(zone: str, year: int, month: int, day: int) -> datetime:
    return begin_of(zone, date(year, month, min(day, calendar.monthrange(year, month)[1])))


def begin_of(zone: str, day: date) -> datetime:
    """The first instant at which the zone's calendar shows this day or, if it was skipped, a later one."""
    own = ZoneInfo(zone)
    local = datetime(day.year, day.month, day.day)  # noqa: DTZ001 the zone is put in below
    first, second = (local.replace(tzinfo=own, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first.astimezone(own).replace(tzinfo=None) == local:
        return first
    # In a gap: the clock jumped over this midnight somewhere between the two readings of it.
    low, high = second - _SECOND, first
    while high - low > _SECOND:
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(own).date() >= day:
            high = middle
        else:
            low = middle
    return high
