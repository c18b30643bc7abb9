"""Simulated customers of a product, beside those who look: they get started, learn, and use what their plan has."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from bench.traffic import DEVICES, SPAN, Request
from jobs import catalog

SHARE: Final = 8
"""One customer for so many sessions."""
BATCH: Final = 20
COURSES: Final = (("first-steps", "First steps", 3), ("wood", "Building with wood", 6), ("energy", "A warm house", 5))
METERS: Final = ("DIAGRAM_UPLOAD", "AI_ANALYSIS", "PROCEDURE_VIEW")
GOES_ON: Final = 0.84
"""Share of those who go on behind each step of getting started, or lesson."""
_encode: Final = msgspec.json.Encoder().encode


def courses() -> bytes:
    """Body of `PUT /v1/courses`."""
    described = [
        {
            "id": course,
            "title": title,
            "lessons": [{"id": _lesson(course, one), "title": f"Lesson {one}"} for one in range(1, lessons + 1)],
        }
        for course, title, lessons in COURSES
    ]
    return _encode({"courses": described})


def lanes(sessions: int, seed: int, end: datetime, prefix: str, learning: bool) -> list[list[Request]]:
    """The same lives for the same seed, over the 24 hours before `end`; their ids begin with `prefix`."""
    rng = random.Random(seed)
    found: list[list[Request]] = [[] for _ in range(DEVICES)]
    for number in range(max(1, sessions // SHARE)):
        begin = end - SPAN * rng.uniform(0.1, 1)
        one = Customer(rng, begin, end, f"{prefix}customer-{number:03d}", f"{prefix}org-{number // 3:03d}")
        actions = list(one.lives(learning))
        for at in range(0, len(actions), BATCH):
            part = actions[at : at + BATCH]
            found[number % DEVICES].append(Request([_encode(one) for one in part], [one["id"] for one in part]))
    return found


class Customer:
    """One user of an organisation."""

    def __init__(self, rng: random.Random, begin: datetime, end: datetime, user: str, org: str) -> None:
        self.rng, self.at, self.end, self.user, self.org = rng, begin, end, user, org
        self._number = 0

    def lives(self, learning: bool) -> Iterator[dict[str, Any]]:
        """What they do, in order."""
        rng, onboarding = self.rng, catalog.default().onboarding
        for step in onboarding.steps:
            if rng.random() > GOES_ON:
                break
            yield self._action("onboarding.step_completed", {"step": step}, 90)
        for action in onboarding.actions:
            if rng.random() < GOES_ON / 2:
                done = {"action": action.action, "projectId": f"{self.user}-project"}
                yield self._action("onboarding.action_completed", done, 200)
        for _ in range(rng.randrange(9)):
            yield self._action("usage.consumed", {"action": rng.choice(METERS)}, 400)
        if rng.random() < 0.3:
            yield self._action("referral.code_requested", {}, 60)
        if learning:
            yield from self._learns()

    def _learns(self) -> Iterator[dict[str, Any]]:
        course, _, lessons = self.rng.choice(COURSES)
        yield self._action("course.enrolled", {"courseId": course}, 30)
        for one in range(1, lessons + 1):
            if self.rng.random() > GOES_ON:
                return
            yield self._action("lesson.completed", {"courseId": course, "lessonId": _lesson(course, one)}, 500)

    def _action(self, kind: str, data: dict[str, Any], seconds: float) -> dict[str, Any]:
        self.at = min(self.end, self.at + timedelta(seconds=seconds * self.rng.uniform(0.3, 2)))
        self._number += 1
        head = {"id": f"{self.user}.{self._number}", "kind": kind, "at": self.at.isoformat(timespec="milliseconds")}
        return head | {"userId": self.user, "orgId": self.org, "data": data}


def _lesson(course: str, number: int) -> str:
    return f"{course}-{number}"
