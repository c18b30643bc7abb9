"""Made-up people who get started, learn and are referred, and what must have come of all that they did.

What is expected is reckoned from the actions as they were sent, without anything of jobs/.
"""

from __future__ import annotations

import random
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from bench.chaos.ledger import Body

COURSES: Final = {f"knots-{number}": tuple(f"knot-{number}-{lesson}" for lesson in "abc") for number in range(3)}
REFERRERS: Final = ("referrer-0", "referrer-1", "referrer-2")
FIRSTS: Final = ("created_clip", "added_subtitles", "reframed_video", "shared_content")
KINDS: Final = {
    "lesson.completed": 40,
    "lesson.reopened": 4,
    "course.enrolled": 4,
    "onboarding.action_completed": 32,
    "referral.signed_up": 20,
}
GENERATION: Final = 500
"""Actions of the whole crowd after which other people come, so that something is always done for the first time."""
PEOPLE: Final = 10
NEWCOMERS: Final = 4
"""Organisations of a generation."""


class Learners:
    """A few people of each generation; `codes` are those of REFERRERS, in their order."""

    def __init__(self, rng: random.Random, seed: int, began: datetime, codes: Sequence[str]) -> None:
        self.random, self.seed, self.began, self.codes = rng, seed, began, codes

    def action(self, number: int) -> Body:
        """The next one: `number` is that of the crowd, and makes its time its own."""
        rng = self.random
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        generation = max(0, number // GENERATION - (rng.random() < 0.2))
        body = self._referral(generation) if kind == "referral.signed_up" else self._person(kind, generation)
        at = self.began - timedelta(minutes=rng.randrange(10), microseconds=number)
        return body | {
            "kind": kind,
            "at": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "id": f"ajs-next-{self.seed}-{uuid.UUID(int=rng.getrandbits(128))}",
        }

    def _person(self, kind: str, generation: int) -> Body:
        rng = self.random
        body: Body = {"userId": f"p-{self.seed}-{generation}-{rng.randrange(PEOPLE)}"}
        if kind == "onboarding.action_completed":
            org = {"orgId": self._newcomer(generation)} if rng.random() < 0.3 else {}
            return body | org | {"data": {"action": rng.choice(FIRSTS), "projectId": f"project-{rng.randrange(99)}"}}
        course = rng.choice(list(COURSES))
        if kind == "course.enrolled":
            return body | {"data": {"courseId": course}}
        return body | {"data": {"lessonId": rng.choice(COURSES[course])}}

    def _newcomer(self, generation: int) -> str:
        return f"n-{self.seed}-{generation}-{self.random.randrange(NEWCOMERS)}"

    def _referral(self, generation: int) -> Body:
        """A newcomer always brings the same code; now and then somebody tries their own, which is no referral."""
        chosen = self.random.randrange(len(REFERRERS))
        if self.random.random() < 0.05:
            return {"orgId": REFERRERS[chosen], "data": {"code": self.codes[chosen]}}
        org = self._newcomer(generation)
        return {"orgId": org, "data": {"code": self.codes[sum(org.encode()) % len(self.codes)]}}


@dataclass
class Expected:
    """Rows as the tables must hold them."""

    firsts: set[tuple[Any, ...]] = field(default_factory=set)
    """User, action, first and last time, how often."""
    lessons: set[tuple[Any, ...]] = field(default_factory=set)
    """User, lesson, whether it is completed."""
    certificates: set[tuple[Any, ...]] = field(default_factory=set)
    """User, course."""
    referrals: set[tuple[Any, ...]] = field(default_factory=set)
    """Referrer, referred, status."""
    rewards: set[tuple[Any, ...]] = field(default_factory=set)
    """Who gets it, the referred organisation, the side."""

    @property
    def effects(self) -> set[tuple[Any, ...]]:
        """Type, subject, course."""
        firsts = {(f"first_{action}", f"user:{user}", None) for user, action, *_ in self.firsts}
        issued = {("certificate.issued", f"user:{user}", course) for user, course in self.certificates}
        rewarded = {("referral.rewarded", f"org:{org}", None) for _, org, side in self.rewards if side == "referred"}
        return firsts | issued | rewarded


def expected(bodies: Iterable[Body], codes: Sequence[str]) -> Expected:
    """What must follow from these actions, in whatever order they were applied."""
    found = Expected()
    times: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    newest: dict[tuple[str, str], tuple[datetime, bool]] = {}
    done: dict[tuple[str, str], set[str]] = defaultdict(set)
    referred: dict[str, str] = {}
    qualified: set[str] = set()
    homes = {lesson: course for course, lessons in COURSES.items() for lesson in lessons}
    for body in bodies:
        kind, data, at = body["kind"], body["data"], datetime.fromisoformat(body["at"])
        if kind == "onboarding.action_completed":
            times[body["userId"], data["action"]].append(at)
            if data["action"] == "created_clip" and "orgId" in body:
                qualified.add(body["orgId"])
        elif kind in {"lesson.completed", "lesson.reopened"}:
            key, is_done = (body["userId"], data["lessonId"]), kind == "lesson.completed"
            newest[key] = max(newest.get(key, (at, is_done)), (at, is_done))
            if is_done:
                done[body["userId"], homes[data["lessonId"]]].add(data["lessonId"])
        elif kind == "referral.signed_up" and body["orgId"] not in REFERRERS:
            referred[body["orgId"]] = REFERRERS[codes.index(data["code"])]
    found.firsts = {(*key, min(all_), max(all_), len(all_)) for key, all_ in times.items()}
    found.lessons = {(*key, is_done) for key, (_, is_done) in newest.items()}
    found.certificates = {(user, course) for (user, course), ones in done.items() if ones == set(COURSES[course])}
    for org, referrer in referred.items():
        found.referrals.add((referrer, org, "REWARDED" if org in qualified else "PENDING"))
        if org in qualified:
            found.rewards |= {(referrer, org, "referrer"), (org, org, "referred")}
    return found
