"""Periods against a brute force that looks at the local calendar hour by hour; no gap, no overlap, whatever changes."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobs.usage import periods
from jobs.usage.periods import Rule

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ZONES = (
    *("UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "America/Havana", "America/St_Johns"),
    *("Asia/Beirut", "Asia/Kolkata", "Asia/Kathmandu", "Pacific/Apia", "Pacific/Kwajalein", "Australia/Lord_Howe"),
    *("Africa/Casablanca", "Africa/Monrovia", "Pacific/Chatham", "America/Toronto", "Asia/Gaza", "Antarctica/Troll"),
)
moments = st.integers(473_385_600, 2_208_988_800).map(lambda second: datetime.fromtimestamp(second, UTC))
zones = st.sampled_from(ZONES)
days = st.sampled_from([1, 2, 15, 28, 29, 30, 31])


def brute_begin(zone: str, day: date) -> datetime:
    """The first minute, looked for one by one, at which the calendar of the zone shows the day or a later one."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) - 26 * HOUR
    own = ZoneInfo(zone)
    while at.astimezone(own).date() < day:
        at += HOUR
    at -= 3 * HOUR  # a calendar that shows the day for a minute, then the one before again
    while at.astimezone(own).date() < day:
        at += MINUTE
    at -= MINUTE
    while at.astimezone(own).date() < day:
        at += timedelta(seconds=1)
    return at


def brute_period(zone: str, day: int, at: datetime) -> tuple[datetime, datetime]:
    """Of all boundaries around `at`, each from the original day, the two between which it lies."""
    year, found = at.year, []
    for month in range(-2, 4):
        number = year * 12 + at.month - 1 + month
        y, m = number // 12, number % 12 + 1
        found.append(brute_begin(zone, date(y, m, min(day, calendar.monthrange(y, m)[1]))))
    return max(one for one in found if one <= at), min(one for one in found if one > at)


@given(zones, days, moments)
@example("Pacific/Apia", 30, datetime(2011, 12, 30, 12, tzinfo=UTC))
@example("Pacific/Apia", 31, datetime(2011, 12, 30, 9, 59, 59, tzinfo=UTC))
@example("Pacific/Kwajalein", 21, datetime(1993, 8, 21, 13, tzinfo=UTC))
@example("America/Havana", 1, datetime(2026, 11, 1, 4, 30, tzinfo=UTC))
@example("America/Sao_Paulo", 15, datetime(2017, 10, 15, 3, tzinfo=UTC))
@example("America/Sao_Paulo", 18, datetime(2018, 2, 18, 2, 30, tzinfo=UTC))
@example("America/St_Johns", 1, datetime(2009, 11, 1, 2, 30, 30, tzinfo=UTC))
@example("Asia/Beirut", 26, datetime(2026, 3, 29, 0, tzinfo=UTC))
@example("America/Toronto", 30, datetime(1989, 4, 2, 5, tzinfo=UTC))
def test_as_a_brute_force_over_the_calendar_says(zone: str, day: int, at: datetime) -> None:
    assert periods.period((Rule(None, zone, day),), at) == brute_period(zone, day, at)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("day", [29, 30, 31])
def test_one_period_after_the_other_from_the_original_day(zone: str, day: int) -> None:
    rules, at = (Rule(None, zone, day),), datetime(2009, 1, 5, tzinfo=UTC)
    _, edge = periods.period(rules, at)
    for _ in range(75):
        start, end = periods.period(rules, edge)
        assert start == edge
        assert periods.period(rules, edge - timedelta(microseconds=1))[1] == edge
        local = start.astimezone(ZoneInfo(zone))
        if (zone, local.year) != ("Pacific/Apia", 2011):
            assert local.day == min(day, calendar.monthrange(local.year, local.month)[1])
        edge = end


def test_the_thirtieth() -> None:
    rules = (Rule(None, "UTC", 30),)
    begun = [periods.period(rules, datetime(2026, month, 30, tzinfo=UTC))[0] for month in (1, 3)]
    begun.insert(1, periods.period(rules, datetime(2026, 3, 1, tzinfo=UTC))[0])
    assert [(one.month, one.day) for one in begun] == [(1, 30), (2, 28), (3, 30)]
    assert periods.period(rules, datetime(2028, 3, 1, tzinfo=UTC))[0].day == 29


changes = st.lists(st.tuples(st.integers(0, 4000), zones, days), max_size=6).map(sorted)


@given(changes, moments)
def test_changes_of_zone_and_anchor_leave_no_gap_and_no_overlap(
    changes: list[tuple[int, str, int]], begin: datetime
) -> None:
    """The running period keeps its boundaries; every period ends where the next begins; none is a stub."""
    rules: tuple[Rule, ...] = periods.DEFAULT
    for hours, zone, day in changes:
        at = begin + hours * HOUR
        before = periods.period(rules, at)
        past = periods.period(rules, before[0] - MINUTE)
        rules = periods.changed(rules, at, zone, day, at_once=False)
        assert periods.period(rules, at) == before
        assert periods.period(rules, before[0] - MINUTE) == past
        begins = [rule.begins for rule in rules[1:] if rule.begins is not None]
        assert begins == sorted(set(begins))
    edge = periods.period(rules, begin - 40 * DAY)[0]
    for _ in range(12):
        start, end = periods.period(rules, edge)
        assert start == edge
        assert periods.SHORTEST <= end - start <= 46 * DAY
        for inside in (start, start + (end - start) / 2, end - timedelta(microseconds=1)):
            assert periods.period(rules, inside) == (start, end)
        edge = end


def test_before_anything_was_counted_a_change_holds_at_once() -> None:
    rules = periods.changed(periods.DEFAULT, datetime(2026, 11, 21, tzinfo=UTC), "Asia/Tokyo", 15, at_once=True)
    start, end = periods.period(rules, datetime(2026, 11, 21, tzinfo=UTC))
    assert (start, end) == (datetime(2026, 11, 14, 15, tzinfo=UTC), datetime(2026, 12, 14, 15, tzinfo=UTC))


def test_the_same_again_takes_a_change_back() -> None:
    at = datetime(2026, 11, 21, tzinfo=UTC)
    rules = periods.changed(periods.DEFAULT, at, "Asia/Tokyo", 15, at_once=False)
    assert len(rules) == 2
    assert periods.changed(rules, at + HOUR, "UTC", 1, at_once=False) == periods.DEFAULT


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../../etc/passwd", "localtime", "Factory", "europe/berlin", "UTC\0"]
)
def test_zones_that_are_none(name: str) -> None:
    assert not periods.is_zone(name)
    assert periods.is_zone("Europe/Berlin")
