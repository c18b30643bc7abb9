"""A real access log through the whole pipe: the API's answers beside what its lines alone say."""

from __future__ import annotations

import gzip
import re
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from api.bots import is_bot
from bench import adapters
from db.settings import Settings
from jobs.analytics import cells
from tests.api.service import running
from tests.api.test_analytics import BASE, rolled
from tests.bench.test_adapters import ALL, LOG, needs_data, play
from tests.jobs.reckoning import nearest_rank

LINE = re.compile(r'^(\S+) \S+ \S+ \[([^\]]+)\] "(?:[^"\\]|\\.)*" \d+ (\S+) "(?:[^"\\]|\\.)*" "((?:[^"\\]|\\.)*)"$')
MINUTE = timedelta(minutes=1)
BEGIN, END = datetime(2015, 5, 1, tzinfo=UTC), datetime(2015, 6, 1, tzinfo=UTC)


def by_hand() -> tuple[list[tuple[str, list[datetime]]], list[float]]:
    """(visitor, times of its requests) of each session that is no bot's, and all sizes; 30 minutes end a session."""
    times: dict[str, list[datetime]] = defaultdict(list)
    sizes = []
    for text in gzip.decompress(LOG.read_bytes()).decode().splitlines():
        match = LINE.match(text)
        if match is None:
            continue
        address, at, size, agent = match.groups()
        if not is_bot(agent):
            times[f"{address} {agent}"].append(datetime.strptime(at, "%d/%b/%Y:%H:%M:%S %z"))
        sizes += [float(size)] if size != "-" else []
    sessions = []
    for visitor, own in times.items():
        own.sort()
        cuts = [n for n, (one, other) in enumerate(pairwise(own), 1) if other - one > 30 * MINUTE]
        sessions += [(visitor, own[a:b]) for a, b in zip([0, *cuts], [*cuts, len(own)], strict=True)]
    return sessions, sorted(sizes)


@needs_data
async def test_the_answers_are_those_of_the_log(settings: Settings) -> None:
    sessions, sizes = by_hand()
    async with running(settings, draining=True) as service:
        key = await service.make_key("admin")

        async def ask(path: str, begin: datetime, end: datetime, more: str = "") -> Any:
            given = f"from={begin:%Y-%m-%dT%H:%M:%SZ}&to={end:%Y-%m-%dT%H:%M:%SZ}{more}"
            return (await service.get(f"{BASE}/{path}?{given}", by=key)).body

        await play(service, adapters.read(LOG, ALL))
        await rolled(service)
        first = min(own[0] for _, own in sessions).replace(hour=0, minute=0, second=0)
        for begin, end in [(BEGIN, END), *((first + n * 24 * 60 * MINUTE, END) for n in range(5))]:
            _compare(sessions, begin, await ask("overview", begin, end))
            _compare_funnel(sessions, begin, await ask("conversion-funnel", begin, end, "&funnel=reading"))
        figures = await ask("performance", BEGIN, END, "&metric=response_bytes")
        assert (figures["count"], figures["max"]) == (len(sizes), sizes[-1])
        assert figures["mean"] == pytest.approx(sum(sizes) / len(sizes))
        for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            assert figures[name] == pytest.approx(nearest_rank(sizes, q), rel=cells.ACCURACY * 1.0001)
        told = (await service.get(f"{BASE}/retention?weeks=4&to=2015-06-01T00:00:00Z", by=key)).body
        _compare_retention(sessions, told["cohorts"])


def _compare(sessions: list[tuple[str, list[datetime]]], begin: datetime, told: Any) -> None:
    within = [(who, own) for who, own in sessions if own[0] >= begin]
    assert (told["sessions"], told["uniqueUsers"]) == (len(within), len({who for who, _ in within}))
    durations = [(own[-1] - own[0]) / timedelta(milliseconds=1) for _, own in within]
    assert told["averageSessionDurationMs"] == (round(sum(durations) / len(durations)) if durations else 0)
    by_day = Counter(own[0].date().isoformat() for _, own in within)
    assert {one["start"][:10]: one["sessions"] for one in told["series"] if one["sessions"]} == by_day


def _compare_funnel(sessions: list[tuple[str, list[datetime]]], begin: datetime, told: Any) -> None:
    """Start, and three pages within half an hour of it; the first page is the start."""
    within = [own for _, own in sessions if own[0] >= begin]
    reached = [[at for at in own[:3] if at - own[0] <= 30 * MINUTE] for own in within]
    entered = [len(within), *(sum(len(own) >= pages for own in reached) for pages in (1, 2, 3))]
    assert [step["entered"] for step in told["steps"]] == entered
    for pages in (1, 2):
        gaps = sorted((own[pages] - own[pages - 1]).total_seconds() * 1000 for own in reached if len(own) > pages)
        found = told["steps"][pages]["medianTimeToNextMs"]
        if not gaps:
            assert found is None
        else:
            assert found == pytest.approx(nearest_rank(gaps, 0.5), rel=cells.ACCURACY * 1.01, abs=0.5)


def _compare_retention(sessions: list[tuple[str, list[datetime]]], told: Any) -> None:
    weeks: dict[str, set[int]] = defaultdict(set)
    for who, own in sessions:
        weeks[who].add((own[0].toordinal() - 1) // 7)
    cohorts: dict[int, Counter[int]] = defaultdict(Counter)
    for own_weeks in weeks.values():
        cohorts[min(own_weeks)].update(week - min(own_weeks) for week in own_weeks)
    found = {
        (datetime.fromisoformat(one["week"]).toordinal() - 1) // 7: {
            each["week"]: each["visitors"] for each in one["retained"] if each["visitors"]
        }
        for one in told
        if one["visitors"]
    }
    assert found == cohorts
    assert len(cohorts) == 2
