"""What visitors do: the payloads, whose session they change, and the kinds that carry them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal
from zlib import crc32

import msgspec
from msgspec import Meta

from jobs.action import Draft
from jobs.kind import ANYBODY, Kind, Payload

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Text = Annotated[str, Meta(max_length=2048)]
Pixels = Annotated[int, Meta(ge=0, le=1_000_000)]
Milliseconds = Annotated[int, Meta(ge=0, le=366 * 86_400_000)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Free = msgspec.Raw
"""Free JSON; never `Raw | None`, which msgspec takes for null alone."""


class DeviceInfo(Payload):
    """The device that acted; width and height of the viewport in CSS pixels."""

    type: Annotated[str, Meta(max_length=64)] | None = None
    width: Pixels | None = None
    height: Pixels | None = None


class InteractionRecorded(Payload):
    """Somebody clicked, hovered, selected or scrolled; `timeSpent` in milliseconds."""

    event_type: Literal["click", "hover", "selection", "scroll"]
    category: Name
    element_id: Text | None = None
    selection_value: Text | None = None
    previous_value: Text | None = None
    time_spent: Milliseconds | None = None
    device_info: DeviceInfo | None = None


class ConfigurationSaved(Payload):
    """A snapshot of what the user has put together; `completionPercentage` in 0..100."""

    configuration: Free
    trigger: Literal["auto_save", "page_exit", "order_attempt"]
    total_price: Annotated[float, Meta(ge=-1e15, le=1e15)] | None = None
    completion_percentage: Percent | None = None


class MetricRecorded(Payload):
    """One measurement, in the unit that its name says."""

    metric_name: Name
    value: float
    additional_data: Free = msgspec.field(default_factory=msgspec.Raw)


class PageViewed(Payload):
    """A page was seen."""

    path: Text | None = None
    title: Text | None = None
    referrer: Text | None = None
    properties: Free = msgspec.field(default_factory=msgspec.Raw)


class EventTracked(Payload):
    """Anything else that a product wants to count."""

    event: Name
    properties: Free = msgspec.field(default_factory=msgspec.Raw)


class UserIdentified(Payload):
    """The session's user is known from here on."""

    traits: Free = msgspec.field(default_factory=msgspec.Raw)


class SessionEnded(Payload):
    """The session is over; a later action opens it again."""


def session_subject(draft: Draft) -> str | None:
    """The session; without one the visitor: its user, else its anonymous id."""
    if draft.session_id is not None:
        return "session:" + draft.session_id
    if draft.user_id is not None:
        return "user:" + draft.user_id
    return None if draft.anonymous_id is None else "anonymous:" + draft.anonymous_id


def metric_subject(draft: Draft) -> str:
    """A metric may belong to no session: then its id spreads it over 64 subjects, a retry meeting its first copy."""
    if draft.session_id is not None:
        return "session:" + draft.session_id
    return f"metric:{crc32((draft.id or '').encode()) % 64}"


KINDS: Final[Sequence[Kind]] = (
    Kind("interaction.recorded", InteractionRecorded, session_subject, ANYBODY, sheddable=True),
    Kind("configuration.saved", ConfigurationSaved, session_subject, ANYBODY, objects=("configuration",)),
    Kind("metric.recorded", MetricRecorded, metric_subject, ANYBODY, sheddable=True, any_json=("additional_data",)),
    Kind("page.viewed", PageViewed, session_subject, ANYBODY, objects=("properties",)),
    Kind("event.tracked", EventTracked, session_subject, ANYBODY, objects=("properties",)),
    Kind("user.identified", UserIdentified, session_subject, ANYBODY, objects=("traits",)),
    Kind("session.ended", SessionEnded, session_subject, ANYBODY),
)
