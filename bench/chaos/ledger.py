"""What was sent, and what of it was acknowledged: the other side of the account."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TABLES = {
    "interaction.recorded": "interaction_events",
    "configuration.saved": "configuration_snapshots",
    "metric.recorded": "performance_metrics",
}
LEARNED = frozenset(
    ("lesson.completed", "lesson.reopened", "course.enrolled", "onboarding.action_completed", "referral.signed_up")
)
Body = dict[str, Any]


@dataclass
class Ledger:
    """Actions with an id of the client's by that id; the others by the mark that stands in their `anonymousId`."""

    named: dict[str, Body] = field(default_factory=dict)
    unnamed: dict[str, Body] = field(default_factory=dict)
    learned: dict[str, Body] = field(default_factory=dict)
    """Those of people who get started, learn and are referred, by the client's id."""
    acked: set[str] = field(default_factory=set)
    """Ids of the client's that were acknowledged."""
    given: dict[str, str] = field(default_factory=dict)
    """mark -> the id that the answer gave to an action without one."""
    problems: list[str] = field(default_factory=list)
    """Answers that may not be."""

    @property
    def acknowledged(self) -> int:
        """How many actions."""
        return len(self.acked) + len(self.given)

    def sending(self, body: Body) -> None:
        """Note an action before it leaves."""
        if body["kind"] in LEARNED:
            self.learned[body["id"]] = body
        elif "id" in body:
            self.named[body["id"]] = body
        else:
            self.unnamed[body["anonymousId"]] = body

    def answered(self, bodies: list[Body], answer: Body) -> None:
        """Note an acknowledgement of all these actions."""
        if answer["rejected"] or len(answer["ids"]) != len(bodies):
            self.problems.append(f"good actions were rejected: {json.dumps(answer)[:500]}")
            return
        for body, own in zip(bodies, answer["ids"], strict=True):
            if "id" not in body:
                self.given[body["anonymousId"]] = own
            elif own == body["id"]:
                self.acked.add(own)
            else:
                self.problems.append(f"{body['id']} was answered as {own}")

    def write(self, path: Path) -> None:
        """All of it, for whoever looks for what went wrong."""
        content = {
            "named": self.named,
            "unnamed": self.unnamed,
            "learned": self.learned,
            "acked": sorted(self.acked),
            "given": self.given,
        }
        path.write_text(json.dumps(content))


def subject(body: Body) -> str | None:
    """The subject that the contract gives an action; None for a metric without a session."""
    if "sessionId" in body:
        return f"session:{body['sessionId']}"
    if body["kind"] == "metric.recorded":
        return None
    return f"user:{body['userId']}" if "userId" in body else f"anonymous:{body['anonymousId']}"
