"""Simulated customers of a product, beside those who look: they get started, learn, use what their plan has, refer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Final

import msgspec

from bench import traffic
from bench.traffic import DEVICES, Request
from jobs import catalog

BATCH: Final = 20
TEAM: Final = 3
"""Customers in an organisation."""
REFERRERS: Final = 5
"""One organisation of so many, the first ones, brings others."""
COURSES: Final = (("first-steps", "First steps", 3), ("wood", "Building with wood", 6), ("energy", "A warm house", 5))
NAMES: Final = (
    ("Ada", "Björn", "Chiara", "Dilara", "Émile", "Fatou", "Grzegorz", "Hanh"),
    ("Adeyemi", "Bauer", "Ito", "Núñez"),
)
METERS: Final = ("DIAGRAM_UPLOAD", "AI_ANALYSIS", "PROCEDURE_VIEW")
PLANS: Final = (("FREE", 9, 70), ("PROFESSIONAL", 60, 24), ("ENTERPRISE", 90, 6))
"""Plan, uses at most, and how many of a hundred have it."""
GOES_ON: Final = 0.84
"""Share of those who go on behind each step of getting started, or lesson."""
_encode: Final = msgspec.json.Encoder().encode


def courses() -> bytes:
    """Body of `PUT /v1/courses`."""
    described = [
        {
            "id": course,
            "title": title,
            "lessons": [
                {"id": _lesson(course, one), "title": f"Lesson {one}", "durationSeconds": _duration(one)}
                for one in range(1, lessons + 1)
            ],
        }
        for course, title, lessons in COURSES
    ]
    return _encode({"courses": described})


def referrers(sessions: int, prefix: str) -> list[str]:
    """The organisations whose codes `lanes` takes."""
    teams = -(-traffic.customers(sessions) // TEAM)
    return [_org(prefix, number) for number in range(teams // REFERRERS or 1)]


def lanes(
    sessions: int, seed: int, end: datetime, prefix: str, learning: bool, codes: Sequence[str] = ()
) -> list[list[Request]]:
    """The same lives for the same seed, over the weeks before `end`; their ids begin with `prefix`.

    `codes`: of the `referrers`; without any, nobody is referred.
    """
    rng = random.Random(seed)
    found: list[list[Request]] = [[] for _ in range(DEVICES)]
    for number in range(traffic.customers(sessions)):
        org, begin = number // TEAM, traffic.begin(rng, end)
        one = Customer(rng, begin, traffic.customer(prefix, number), _org(prefix, org))
        newcomer = bool(codes) and number % TEAM == 0 and org >= len(codes) and rng.random() < 0.6
        actions = list(one.until(end, learning, rng.choice(codes) if newcomer else None))
        for at in range(0, len(actions), BATCH):
            part = actions[at : at + BATCH]
            found[number % DEVICES].append(Request([_encode(one) for one in part], [one["id"] for one in part]))
    return found


class Customer:
    """One user of an organisation."""

    def __init__(self, rng: random.Random, begin: datetime, user: str, org: str) -> None:
        self.rng, self.at, self.user, self.org = rng, begin, user, org
        self._number = 0

    def until(self, end: datetime, learning: bool, code: str | None) -> Iterator[dict[str, Any]]:
        """What they have done by then."""
        return takewhile(lambda _: self.at <= end, self.lives(learning, code))

    def lives(self, learning: bool, code: str | None = None) -> Iterator[dict[str, Any]]:
        """What they do, in order; `code`: that their organisation came by."""
        rng = self.rng
        if code:
            yield self._action("referral.signed_up", {"code": code}, 10)
        yield from self._begins()
        for action in catalog.default().onboarding.actions:
            if rng.random() < GOES_ON / 2:
                done = {"action": action.action, "projectId": f"{self.user}-project"}
                yield self._action("onboarding.action_completed", done, 200)
        yield from self._uses()
        if rng.random() < 0.3:
            yield self._action("referral.code_requested", {}, 60)
        if learning:
            yield from self._learns()

    def _begins(self) -> Iterator[dict[str, Any]]:
        for step in catalog.default().onboarding.steps:
            if self.rng.random() > GOES_ON:
                return
            verb = "skipped" if self.rng.random() < 0.07 else "completed"
            spent = {"timeSpentSeconds": int(self.rng.lognormvariate(3.5, 0.6))}
            yield self._action(f"onboarding.step_{verb}", {"step": step} | spent, 90)

    def _uses(self) -> Iterator[dict[str, Any]]:
        plan, most, _ = self.rng.choices(PLANS, [share for *_, share in PLANS])[0]
        paid = plan != "FREE"
        if paid:
            yield self._action("plan.changed", {"plan": plan}, 300)
        for _ in range(self.rng.randrange(most)):
            meter = self.rng.choice((*METERS, "EXPORT_PDF") if paid else METERS)
            yield self._action("usage.consumed", {"action": meter}, 400)

    def _learns(self) -> Iterator[dict[str, Any]]:
        course, _, lessons = self.rng.choice(COURSES)
        name = " ".join(map(self.rng.choice, NAMES))
        yield self._action("course.enrolled", {"courseId": course, "learnerName": name}, 30)
        for one in range(1, lessons + 1):
            lesson = {"courseId": course, "lessonId": _lesson(course, one)}
            if self.rng.random() > GOES_ON:
                yield self._action("lesson.watched", lesson | {"seconds": _duration(one) // 3}, 200)
                return
            yield self._action("lesson.watched", lesson | {"seconds": _duration(one)}, 500)
            yield self._action("lesson.completed", lesson, 5)

    def _action(self, kind: str, data: dict[str, Any], seconds: float) -> dict[str, Any]:
        self.at += timedelta(seconds=seconds * self.rng.uniform(0.3, 2))
        self._number += 1
        head = {"id": f"{self.user}.{self._number}", "kind": kind, "at": self.at.isoformat(timespec="milliseconds")}
        return head | {"userId": self.user, "orgId": self.org, "data": data}


def _org(prefix: str, number: int) -> str:
    return f"{prefix}org-{number:03d}"


def _lesson(course: str, number: int) -> str:
    return f"{course}-{number}"


def _duration(lesson: int) -> int:
    """Seconds."""
    return 240 + 60 * lesson
