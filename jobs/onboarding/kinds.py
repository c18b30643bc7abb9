"""What users do on the way in: the payloads, what the catalog says of them, and the kinds that carry them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from jobs.action import Rejected
from jobs.catalog import Catalog
from jobs.kind import ANYBODY, Kind, Payload, of_user

COMPLETED, SKIPPED, DONE = "onboarding.step_completed", "onboarding.step_skipped", "onboarding.action_completed"

ActionName = Annotated[str, Meta(min_length=1, max_length=64, examples=["created_clip"])]
StepName = Annotated[str, Meta(min_length=1, max_length=64, examples=["WELCOME"])]
ProjectId = Annotated[str, Meta(min_length=1, max_length=256)]
Seconds = Annotated[float, Meta(ge=0, le=31_622_400)]


class ActionCompleted(Payload):
    """A user has done one of the catalog's actions; the first time is told as `isFirstTime`."""

    action: ActionName
    project_id: ProjectId
    metadata: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class StepCompleted(Payload):
    """A step of the checklist is done, also one that was skipped before."""

    step: StepName
    time_spent_seconds: Seconds | None = None


class StepSkipped(Payload):
    """A step of the checklist is left out; one that is completed stays so."""

    step: StepName
    time_spent_seconds: Seconds | None = None


def _known_action(payload: ActionCompleted, catalog: Catalog) -> None:
    known = [one.action for one in catalog.onboarding.actions]
    if payload.action not in known:
        message = f"no action {payload.action!r}; there are {', '.join(known)}"
        raise Rejected("unknown_action", message, "$.data.action")


def _known_step(payload: StepCompleted | StepSkipped, catalog: Catalog) -> None:
    known = catalog.onboarding.steps
    if payload.step not in known:
        raise Rejected("unknown_step", f"no step {payload.step!r}; there are {', '.join(known)}", "$.data.step")


KINDS: Final[Sequence[Kind]] = (
    Kind(DONE, ActionCompleted, of_user, ANYBODY, objects=("metadata",), check=_known_action),
    Kind(COMPLETED, StepCompleted, of_user, ANYBODY, check=_known_step),
    Kind(SKIPPED, StepSkipped, of_user, ANYBODY, check=_known_step),
)
