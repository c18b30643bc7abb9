"""What analytics must answer, reckoned from all actions at once: written from docs/analytics.md, not from the code."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from jobs.action import Action
from tests.jobs import oracle

DAY, WEEK = timedelta(days=1), timedelta(days=7)
Told = Mapping[str, Any]


class World:
    """All actions, each with the session that it belongs to (None: to none); of bots' sessions only with `bots`."""

    def __init__(self, told: Iterable[tuple[str | None, Action]], *, bots: bool = False) -> None:
        self.actions = [(session, action, json.loads(action.data)) for session, action in told]
        grouped: dict[str, list[Action]] = defaultdict(list)
        for session, action, _ in self.actions:
            if session is not None:
                grouped[session].append(action)
        rows = {key: oracle.session(key, own) for key, own in grouped.items()}
        self.rows = {key: row for key, row in rows.items() if bots or not row["is_bot"]}
        self.bots = [row for row in rows.values() if row["is_bot"]]
        self.own = {key: sorted(grouped[key], key=lambda a: (a.at, a.id)) for key in self.rows}

    def visitor(self, row: Told) -> tuple[str, str]:
        """Who it was; each session of a bot is somebody."""
        if row["is_bot"]:
            return "bot", row["session_id"]
        for name in ("user_id", "anonymous_id"):
            if row[name] is not None:
                return name, row[name]
        return "session", row["session_id"]

    def within(self, begin: datetime, end: datetime) -> list[dict[str, Any]]:
        """The sessions that began in a range."""
        return [row for row in self.rows.values() if begin <= row["at"] < end]

    def overview(self, begin: datetime, end: datetime) -> dict[str, Any]:
        """The numbers of a range, all but the series."""
        rows = self.within(begin, end)
        done = [row for row in rows if row["completed_at"] is not None]
        times = [((row["completed_at"] or row["last_at"]) - row["at"]) / timedelta(milliseconds=1) for row in rows]
        return {
            "sessions": len(rows),
            "uniqueUsers": len({self.visitor(row) for row in rows}),
            "interactions": sum(
                begin <= action.at < end
                for session, action, _ in self.actions
                if session in self.rows and action.kind == "interaction.recorded"
            ),
            "completedConfigurations": len(done),
            "conversionRate": _share(len(done), len(rows)),
            "averageSessionDurationMs": round(sum(times) / len(times)) if times else 0,
            "dropOffPoints": Counter(row["last_category"] for row in rows if row["completed_at"] is None),
            "prices": Counter(_price(row["total_price"]) for row in rows if row["total_price"] is not None),
            "devices": Counter(row["device_type"] or None for row in rows),
        }

    def taken(self, session: str, steps: Sequence[Told], window: timedelta) -> list[datetime]:
        """When a session took each step: the earliest behind the one before, not too long after the first."""
        left, found = self.own[session], list[datetime]()
        for number, step in enumerate(steps):
            fitting = [n for n, action in enumerate(left) if _fits(step, action)]
            if number == 0 and not step.keys() - {"title"}:
                found.append(left[0].at)
                continue
            if not fitting or (found and left[fitting[0]].at - found[0] > window):
                break
            found.append(left[fitting[0]].at)
            left = left[fitting[0] + 1 :]
        return found

    def funnel(self, steps: Sequence[Told], window: timedelta, begin: datetime, end: datetime) -> list[dict[str, Any]]:
        """Sessions in each step, and every gap to the next one, in ms."""
        taken = [self.taken(row["session_id"], steps, window) for row in self.within(begin, end)]
        return [
            {
                "entered": sum(len(times) > n for times in taken),
                "gaps": sorted((t[n + 1] - t[n]) / timedelta(milliseconds=1) for t in taken if len(t) > n + 1),
            }
            for n in range(len(steps))
        ]

    def paths(self, begin: datetime, end: datetime) -> Counter[tuple[str | None, str | None]]:
        """Steps from one category or page to another; None: the beginning, the end."""
        found: Counter[tuple[str | None, str | None]] = Counter()
        for row in self.within(begin, end):
            names = [
                json.loads(action.data).get("category" if action.kind == "interaction.recorded" else "path")
                for action in self.own[row["session_id"]]
                if action.kind in {"interaction.recorded", "page.viewed"}
            ]
            names = [name for n, name in enumerate(names) if n == 0 or name != names[n - 1]]
            if names:
                found.update(zip([None, *names], [*names, None], strict=True))
        return found

    def retention(self) -> dict[date, Counter[int]]:
        """Monday -> week -> visitors of that cohort who came in it."""
        weeks: dict[tuple[str, str], set[date]] = defaultdict(set)
        for row in self.rows.values():
            day = row["at"].date()
            weeks[self.visitor(row)].add(day - timedelta(days=day.weekday()))
        found: dict[date, Counter[int]] = defaultdict(Counter)
        for own in weeks.values():
            found[min(own)].update((week - min(own)).days // 7 for week in own)
        return found

    def configurations(self) -> Counter[str]:
        """What sessions ended with."""
        return Counter(
            json.dumps(saved[-1]["configuration"], sort_keys=True)
            for own in self.own.values()
            if (saved := [json.loads(a.data) for a in own if a.kind == "configuration.saved"])
        )

    def choices(self) -> Counter[tuple[str, str]]:
        """The last selection of each category in each session."""
        found: Counter[tuple[str, str]] = Counter()
        for own in self.own.values():
            last: dict[str, str] = {}
            for action in own:
                data = json.loads(action.data)
                if action.kind == "interaction.recorded" and data.get("selectionValue") is not None:
                    last[data["category"]] = data["selectionValue"]
            found.update(last.items())
        return found

    def values(self, name: str, begin: datetime, end: datetime) -> list[float]:
        """All values of a metric, smallest first."""
        return sorted(
            data["value"]
            for _, action, data in self.actions
            if action.kind == "metric.recorded" and data["metricName"] == name and begin <= action.at < end
        )

    def days(self) -> dict[date, tuple[int, int, int, int]]:
        """day -> sessions, interactions, unique users, completed, of every day that anything happened on."""
        found = {}
        for day in {action.at.date() for _, action, _ in self.actions}:
            begin = datetime.fromisoformat(f"{day}T00:00:00+00:00")
            told = self.overview(begin, begin + DAY)
            names = ("sessions", "interactions", "uniqueUsers", "completedConfigurations")
            found[day] = tuple(told[name] for name in names)
        return found


def nearest_rank(values: Sequence[float], q: float) -> float:
    """The smallest value that `q` of all do not exceed."""
    return next(value for n, value in enumerate(values, 1) if n >= q * len(values))


def _fits(step: Told, action: Action) -> bool:
    data = json.loads(action.data)
    asked = {name: value for name, value in step.items() if name != "title"}
    given = {
        "kind": action.kind,
        "category": data.get("category") if action.kind == "interaction.recorded" else None,
        "path": data.get("path") if action.kind == "page.viewed" else None,
        "event": data.get("event") if action.kind == "event.tracked" else None,
        "trigger": data.get("trigger") if action.kind == "configuration.saved" else None,
        "value": data.get("selectionValue") if action.kind == "interaction.recorded" else None,
    }
    return all(given[name] == value for name, value in asked.items())


def _price(price: float) -> int:
    """0 below 10; then 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, and these times ten, a hundred, ..."""
    steps = [step * 10**power for power in range(15) for step in (10, 12, 15, 20, 25, 30, 40, 50, 60, 80)]
    lower = max((step for step in steps if step <= abs(price)), default=0)
    return lower if price >= 0 else -lower


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
