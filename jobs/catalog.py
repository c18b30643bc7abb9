"""The catalog: what products fill in. One TOML file, read strictly; a wrong one is refused with its line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Annotated, Any, Final, Literal

import asyncpg
import msgspec
from msgspec import Meta

from db import stored_catalog
from jobs.usage import plan_catalog
from jobs.usage.plan_catalog import Meter, PlanName, PlanSection, Usage

MAX_BYTES: Final = 64 * 1024
DONE: Final = "COMPLETED"
"""The step that nobody completes: it is derived."""
RESERVED: Final = ("userId", "completionPercentage")
"""Fields of the progress that are ours."""

Name = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,63}\Z")]
Field = Annotated[str, Meta(pattern=r"\A[a-z][A-Za-z0-9]{0,63}\Z")]
Step = Annotated[str, Meta(pattern=r"\A[A-Z][A-Z0-9_]{0,63}\Z")]
Amount = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class Wrong(Exception):
    """A catalog that cannot be taken: `line` of the file, counted from 1, and `reason`."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line, self.reason = line, reason


class _Section(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """Fields are camelCase in the file, as in every body of the API."""


class OnboardingAction(_Section):
    """One action of the checklist, and the fields of the progress that it fills."""

    action: Name
    flag: Field
    first_at: Field
    counter: Field | None = None
    last_at: Field | None = None

    def fields(self) -> list[tuple[str, str]]:
        """(name in the file, field of the progress) of those that are given."""
        given = zip(self.__struct_encode_fields__[1:], msgspec.structs.astuple(self)[1:], strict=True)
        return [(name, field) for name, field in given if field is not None]


class Onboarding(_Section):
    """The actions of a product, and the steps of its checklist in their order."""

    steps: Annotated[tuple[Step, ...], Meta(min_length=1, max_length=100)]
    actions: Annotated[tuple[OnboardingAction, ...], Meta(min_length=1, max_length=100)]


class Rewards(_Section):
    """What the ledger of either side gets, in `unit`."""

    unit: Name
    referrer: Amount
    referred: Amount


class Referrals(_Section):
    """`link` holds {code}; the first `qualifying_action` of an organisation completes its referral."""

    prefix: Annotated[str, Meta(pattern=r"\A[A-Z0-9]{0,12}\Z")]
    link: Annotated[str, Meta(pattern=r"\Ahttps?://[^\s]*\{code\}[^\s]*\Z", max_length=500)]
    qualifying_action: Name
    rewards: Rewards


class Courses(_Section):
    """What becomes of a lesson or a course that nobody has described."""

    unknown: Literal["accept", "reject"]


class Catalog(_Section):
    """The whole file. A new section is a field here and a table in db/catalog.toml."""

    onboarding: Onboarding
    referrals: Referrals
    courses: Courses
    meters: Annotated[tuple[Meter, ...], Meta(min_length=1, max_length=200)]
    plans: Annotated[dict[PlanName, PlanSection], Meta(min_length=1, max_length=100)]
    usage: Usage


def parse(text: str) -> Catalog:
    """Read a catalog; a section that is left out is as shipped. Raises Wrong."""
    return _read(text, _shipped())


@cache
def default() -> Catalog:
    """The catalog as shipped."""
    return _read(stored_catalog.shipped(), {})


@cache
def _shipped() -> dict[str, Any]:
    return tomllib.loads(stored_catalog.shipped())


def _read(text: str, shipped: dict[str, Any]) -> Catalog:
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise Wrong(1, f"more than {MAX_BYTES >> 10} KiB")
    given = _toml(text)
    try:
        catalog = msgspec.convert(shipped | given, Catalog)
    except msgspec.ValidationError as error:
        reason, path = _explained(error)
        raise Wrong(_line(text, path), f"{_told(path)}{reason}") from None
    for path, reason in _faults(catalog):
        raise Wrong(_line(text, path), f"{_told(path)}{reason}")
    return catalog


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*?) \(at (?:line (\d+), column \d+|end of document)\)", str(error), re.DOTALL)
        reason, line = (found[1], found[2]) if found else (str(error), "1")
        raise Wrong(int(line) if line else text.count("\n") + 1, reason) from None
    except RecursionError:
        raise Wrong(1, "nested too deep") from None


Path = tuple[str | int, ...]
_PATH: Final = re.compile(r"(.*?)(?: - at `(?:key in )?\$\.?(.*)`)?", re.DOTALL)
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)


def _explained(error: msgspec.ValidationError) -> tuple[str, Path]:
    """msgspec's message and the path that it names, down to an unknown field."""
    found = _PATH.fullmatch(str(error))
    reason, text = (found[1], found[2] or "") if found else (str(error), "")
    path: Path = tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", text))
    unknown = _UNKNOWN.fullmatch(reason)
    return ("there is no such field", (*path, unknown[1])) if unknown else (reason, path)


def _told(path: Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return f"{text.removeprefix('.')}: " if text else ""


def _line(text: str, path: Path) -> int:
    """The line at which what `path` names begins to be there; of the nearest part that is in the text."""
    lines = text.split("\n")  # as TOML does: not at every character that splitlines takes for an end
    while path:
        for number in range(1, len(lines) + 1):
            if _holds("\n".join(lines[:number]), path):
                return number
        path = path[:-1]
    return 1


def _holds(beginning: str, path: Path) -> bool:
    """Whether the file's beginning has it already; it may end within an array."""
    for end in ("", "\n]"):
        try:
            value: Any = tomllib.loads(beginning + end)
        except tomllib.TOMLDecodeError:
            continue
        try:
            for part in path:
                value = value[part]
        except (LookupError, TypeError):
            return False
        return True
    return False


def _faults(catalog: Catalog) -> Iterator[tuple[Path, str]]:
    """What the types cannot say."""
    onboarding, referrals = catalog.onboarding, catalog.referrals
    steps = list(enumerate(onboarding.steps))
    yield from _twice(((("onboarding", "steps", n), step) for n, step in steps), (DONE,))
    actions = list(enumerate(onboarding.actions))
    yield from _twice(((("onboarding", "actions", n, "action"), one.action) for n, one in actions), ())
    fields = ((("onboarding", "actions", n, name), field) for n, one in actions for name, field in one.fields())
    yield from _twice(fields, RESERVED)
    if referrals.qualifying_action not in {one.action for _, one in actions}:
        yield ("referrals", "qualifyingAction"), f"{referrals.qualifying_action} is no action of [onboarding]"
    yield from plan_catalog.faults(catalog.meters, catalog.plans, catalog.usage)


def _twice(named: Iterable[tuple[Path, str]], taken: Sequence[str]) -> Iterator[tuple[Path, str]]:
    seen = set(taken)
    for path, name in named:
        if name in seen:
            yield path, f"{name} is ours" if name in taken else f"{name} stands twice"
        seen.add(name)


_known: dict[str, Catalog] = {}


async def load(conn: asyncpg.Connection) -> Catalog:
    """The catalog of this database, as the transaction of `conn` sees it: one look at its version, parsed once."""
    last = next(reversed(_known), "")
    row = await stored_catalog.read(conn, last)
    if row is None:
        return default()
    version, body = row
    return _known[version] if body is None else take(version, body)


def take(version: str, body: str) -> Catalog:
    """A stored catalog, parsed once for each version; the newest is remembered last."""
    found = _known.pop(version, None) or parse(body)
    if len(_known) >= 8:
        del _known[next(iter(_known))]
    _known[version] = found
    return found


def changes(old: Catalog, new: Catalog) -> list[str]:
    """What differs, one line each: `referrals.prefix: CLIP -> TAPE`."""
    return list(_changes("", msgspec.to_builtins(old), msgspec.to_builtins(new)))


def _changes(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys(chain(old, new)):
            yield from _changes(f"{path}.{name}".removeprefix("."), old.get(name), new.get(name))
    elif old != new:
        yield f"{path}: {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
