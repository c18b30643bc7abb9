"""What a kind of action is: its payload, whose state it changes, who may send it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from jobs.action import Draft, Role
from jobs.catalog import Catalog

ANYBODY: Final[frozenset[Role]] = frozenset(("user", "service", "admin"))
HOUSE: Final[frozenset[Role]] = frozenset(("service", "admin"))
ADMINS: Final[frozenset[Role]] = frozenset(("admin",))
ID_PATTERN: Final = r"^[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+$(?!\n)"
"""Text without control characters and halves of characters."""
Id = Annotated[str, Meta(min_length=1, max_length=128, pattern=ID_PATTERN)]


class Payload(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """The `data` of an action: each kind has its own."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What an action may be: its payload, whose state it changes, who may send it, whether load may drop it.

    The fields of the payload named in `objects` and `any_json` are free JSON: msgspec.Raw, empty when not given.
    """

    name: str
    payload: type[msgspec.Struct]
    subject: Callable[[Draft], str | None]
    senders: frozenset[Role]
    sheddable: bool = False
    objects: tuple[str, ...] = ()
    any_json: tuple[str, ...] = ()
    check: Callable[[Any, Catalog], None] | None = None
    """A rule that needs the catalog: (payload, catalog), raises Rejected."""
    restrict: Callable[[Any, Role], None] | None = None
    """A rule about who may say what in the payload: (payload, role), raises Rejected."""
    decoder: msgspec.json.Decoder[Any] = None  # type: ignore[assignment]

    free: tuple[tuple[str, bool, bool], ...] = ()
    """(name in JSON, must be an object, must be given) of each field that is free JSON."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "decoder", msgspec.json.Decoder(self.payload))
        fields = {field.name: field for field in msgspec.structs.fields(self.payload)}
        free = tuple(
            (fields[name].encode_name, name in self.objects, fields[name].required)
            for name in self.objects + self.any_json
        )
        object.__setattr__(self, "free", free)


def of_user(draft: Draft) -> str | None:
    """The subject of kinds about a user."""
    return None if draft.user_id is None else "user:" + draft.user_id
