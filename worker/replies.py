"""What the requests that wait are told of their actions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from jobs.family import Family, Outcome
from worker import dedupe
from worker.applied import Applied, Item, Reply
from worker.dead_letters import DeadLetter
from worker.dedupe import Firsts


def outcomes(family: Family, items: Sequence[Item], new: Sequence[Item], firsts: Firsts) -> Iterable[Reply]:
    """Of the actions of a family; one that is refused gets its dead letter, a deferred one waits until it comes again.

    `firsts`: of all that were applied under the ids of the items, now or before.
    """
    counted = {id(action) for _, action, _ in new}
    for _, action, _ in items:
        if action.reply is not None and (first := firsts.get(dedupe.key(family, action))) is not None:
            kind, outcome = first
            told = outcome if kind == action.kind else _reused(kind)
            yield Reply(action.reply, told, id(action) not in counted)


def _reused(kind: str) -> Outcome:
    """For an id that another kind has: nothing was done, and the outcome of the first is no answer to this."""
    return {"error": "id_reused", "message": f"the id belongs to an action of the kind {kind}: send a new id"}


def erased(to: str) -> Reply:
    """To an action that was dropped."""
    said = "the person whose action this is was erased"
    return Reply(to, {"error": "erased", "message": said}, duplicate=False)


def messages(done: Applied) -> dict[str, bytes]:
    """One message for each API process that waits: [[token, outcome, duplicate], …]."""
    found: dict[str, list[tuple[str, object, bool]]] = defaultdict(list)
    for reply in (*done.replies, *_of_the_dead(done)):
        channel, _, token = reply.to.partition(":")
        found[channel].append((token, reply.outcome, reply.duplicate))
    return {channel: msgspec.json.encode(rows) for channel, rows in found.items()}


def _of_the_dead(done: Applied) -> list[Reply]:
    dead = {(letter.subject, letter.action_id): _said(letter) for letter in done.dead}
    return [
        Reply(action.reply, dead[action.subject, action.id], False)
        for _, action, _ in (done.items if dead else ())
        if action.reply and (action.subject, action.id) in dead
    ]


def _said(letter: DeadLetter) -> Outcome:
    """A refusal of the fold is for the caller; what went wrong inside is not."""
    if letter.code == "poison":
        return {"error": "dead_letter"}
    return {"error": letter.code, "message": letter.message}
