"""Courses: progress in lessons and courses, and the certificates that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

import asyncpg
import msgspec

from db import settings
from jobs.action import Action
from jobs.courses import facts as course_facts
from jobs.courses import models
from jobs.courses import states as course_states
from jobs.courses.fold import FOLDS, Deferred, Refused
from jobs.courses.kinds import KINDS
from jobs.courses.states import QUERIES, USER, States
from jobs.family import Emitted, Facts, Item, Live, Outcome, Refusal, Row, StateTable
from jobs.kind import Kind

_encode: Final = msgspec.json.Encoder().encode


def _configured() -> bool:
    return bool(getattr(settings.load(), "nats_url", ""))


def _public_url() -> str:
    return settings.load().public_url


class Courses:
    """The family of lessons, courses and certificates; its subject is a user."""

    name = "courses"
    group = "progress"
    kinds: Sequence[Kind] = KINDS
    facts: Sequence[Facts] = (
        Facts(
            "course_events",
            ("subject", "id", "kind", "user_id", "org_id", "data", "outcome", "at", "received_at", "flags"),
            QUERIES["known_course_events"],
        ),
    )

    def __init__(self, looks_up: Callable[[], bool] = _configured, public_url: Callable[[], str] = _public_url) -> None:
        """`looks_up`: whether unknown lessons and courses can be asked for elsewhere; `public_url`: before paths."""
        self.looks_up, self.public_url = looks_up, public_url

    def owns(self, kind: str) -> bool:
        """Whether a kind is of this family."""
        return kind in FOLDS

    def table(self, kind: str) -> Facts:
        """There is one."""
        return self.facts[0]

    def known(self, row: asyncpg.Record) -> Outcome:
        """The outcome as it was kept."""
        outcome: Outcome = msgspec.json.decode(row["outcome"])
        return outcome

    async def load(self, conn: asyncpg.Connection, items: Sequence[Item]) -> States:
        """Touched courses of the users with all of their lessons, so that nothing is reckoned by difference."""
        states = await course_states.load(conn, items, looks_up=self.looks_up())
        states.public_url = self.public_url()
        return states

    def first_seen(self, states: States, subject: str, since: datetime) -> datetime | None:
        """Every fact of a user is in one of their courses, and those are never removed."""
        own = states.enrolments.get(subject[USER:])
        return min(enrolment.received_at for enrolment in own.values()) if own else None

    def fold(self, states: States, items: Sequence[Item]) -> Mapping[str, list[Row]]:
        """Apply what can be applied; the rows of `course_events`."""
        rows: list[Row] = []
        for _, action, payload in items:
            try:
                outcome = _encode(FOLDS[action.kind](states, action, payload))
            except Refused as refused:
                states.emitted.refused.append(Refusal(action, refused.code, str(refused)))
            except Deferred:
                states.emitted.deferred.append(action)
            else:
                states.outcomes[id(action)] = outcome
                rows.append(_fact(action, outcome))
        for standing in states.changed_standings.values():
            standing.reckon()
        return {"course_events": rows}

    def outcome(self, states: States, action: Action) -> Outcome:
        """The lesson's row with the course's progress, or what the kind has instead."""
        outcome: Outcome = msgspec.json.decode(states.outcomes[id(action)])
        return outcome

    def emitted(self, states: States) -> Emitted:
        """Certificates, what cannot be taken, and snapshots for who looks on."""
        states.emitted.live = list(_live(states))
        return states.emitted

    async def save(self, conn: asyncpg.Connection, states: States) -> None:
        """One statement per table, ordered by key."""
        standings = {key: standing.enrolment for key, standing in states.changed_standings.items()}
        await course_states.put(conn, "user_progress", "save_progress", states.changed_rows, states.kept_rows)
        await course_states.put(conn, "user_courses", "save_enrolments", standings, states.kept_enrolments)
        await course_states.save(conn, "save_certificates", states.changed_certificates)
        if deferred := states.emitted.deferred:
            rows = [(one.subject, one.id, msgspec.msgpack.encode(one)) for one in deferred]
            await conn.execute(QUERIES["save_lookups"], *map(list, zip(*sorted(rows), strict=True)))

    def models(self, states: States) -> Iterable[tuple[str, bytes]]:
        """A user in a course, all courses of a user, all certificates."""
        return models.written(states)

    async def model_names(self, conn: asyncpg.Connection, items: Sequence[Item]) -> Iterable[str]:
        """All models of these users."""
        users = list({action.subject[USER:] for _, action, _ in items})
        names = [name(user_id) for user_id in users for name in (models.statistics_name, models.certificates_name)]
        rows = await conn.fetch(QUERIES["load_enrolments"], users)
        return names + [models.course_name(row["user_id"], row["course_id"]) for row in rows]

    def state_tables(self) -> Sequence[StateTable]:
        """Lessons, courses, certificates: in this order, since each is reckoned from the one before."""
        return (course_facts.LessonRows(), course_facts.CourseRows(), course_facts.CertificateRows())


def _fact(action: Action, outcome: bytes) -> Row:
    return (
        *(action.subject, action.id, action.kind, action.user_id, action.org_id, action.data.decode()),
        *(outcome.decode(), action.at, action.received_at, action.flags),
    )


def _live(states: States) -> Iterable[Live]:
    for (user_id, course_id), standing in states.changed_standings.items():
        if course_id:
            yield Live(f"user:{user_id}", "progress", partial(models.live_body, standing.enrolment))
    for (user_id, course_id), held in states.changed_certificates.items():
        body = partial(models.certificate_body, held, states.titles.get(course_id), states.public_url)
        yield Live(f"user:{user_id}", "certificate", body)
